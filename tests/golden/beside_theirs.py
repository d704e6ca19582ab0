"""What scripts `beside_ID.py` load authors' code by, and read its weights by."""

import ast
import functools
import pathlib
import sys
import tempfile
import types

import numpy as np


def stubs(*names, **members):
  """Modules in place of packages that are not there; `members` are names of all of them."""
  for name in names:
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(members)


def timm():
  """Stubs of timm, with what parts_of_timm.py has of it, and the name that numpy gave up."""
  import parts_of_timm as parts

  stubs("timm", "timm.models", "timm.optim", "timm.optim.optim_factory")
  stubs("timm.models.vision_transformer", DropPath=None, Mlp=None, **vars(parts))
  np.float = float


def moved(model, scale=0.2):
  """A model whose trained parameters are away from where they begin, and a copy of its weights."""
  import torch

  with torch.no_grad():
    for parameter in model.parameters():
      if parameter.requires_grad:
        parameter += scale * torch.randn_like(parameter)
  return {k: v.clone() for k, v in model.state_dict().items()}


def trained(make):
  """How many numbers a model has that are trained, by shape alone."""
  import torch

  # Whose entries are read: rates of stochastic depth.
  torch.linspace = functools.partial(torch.linspace, device="cpu")
  with torch.device("meta"):
    return sum(p.numel() for p in make().parameters() if p.requires_grad)


def dense(given, name, bias=None):
  """A dense layer of theirs as ours; `bias` where it has none of that name."""
  own = given.get(f"{name}.bias", bias)
  kernel = {"kernel": arrayed(given[f"{name}.weight"]).T}
  return kernel if own is None else {**kernel, "bias": arrayed(own)}


def normed(given, name):
  """A normalisation of theirs as ours."""
  return {"scale": arrayed(given[f"{name}.weight"]), "bias": arrayed(given[f"{name}.bias"])}


def block(given, name, bias=None):
  """A transformer block by timm's names as ours; `bias` of queries, keys and values if not its."""
  return {
    "norm1": normed(given, f"{name}.norm1"),
    "attention": {
      "qkv": dense(given, f"{name}.attn.qkv", bias),
      "out": dense(given, f"{name}.attn.proj"),
    },
    "norm2": normed(given, f"{name}.norm2"),
    "mlp": {"up": dense(given, f"{name}.mlp.fc1"), "down": dense(given, f"{name}.mlp.fc2")},
  }


def arrayed(x):
  """A tensor of either library as numpy's."""
  return x.detach().numpy() if hasattr(x, "detach") else np.asarray(x)


def published(shapes, tensors, **where):
  """Variables of these shapes from tensors by published names; those not there are zeros."""
  import jax
  from safetensors.numpy import save_file

  from maskjax.model.published import load

  zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "w.safetensors"
    save_file({k: np.ascontiguousarray(arrayed(v)) for k, v in tensors.items()}, path)
    return load(path, zeros, **where)[0]


def by_name(shapes, tensors):
  """A tree of these shapes from PyTorch's tensors by our names, kernels turned round.

  Leaves that are not there are zeros.
  """
  import jax

  def leaf(path, shape):
    x = tensors.get(jax.tree_util.keystr(path, simple=True, separator="/"))
    if x is None:
      return np.zeros(shape.shape, shape.dtype)
    x = arrayed(x)
    x = x.transpose(*range(2, x.ndim), 1, 0) if path[-1].key == "kernel" else x
    assert x.shape == shape.shape, (path, x.shape, shape.shape)
    return x

  return jax.tree_util.tree_map_with_path(leaf, shapes)


def by_layer(shapes, tensors, names):
  """A tree of these shapes from PyTorch's convolutions, norms and dense layers.

  `names` are theirs by ours, which may lie deeper in the tree. Leaves that are not there are zeros.
  """
  import jax

  kinds = dict(kernel="weight", scale="weight", mean="running_mean", var="running_var")

  def leaf(path, shape):
    *place, kind = (part.key for part in path)
    layer = "/".join(["", *place])
    found = [theirs for ours, theirs in names.items() if layer.endswith(f"/{ours}")]
    x = tensors.get(f"{found[0]}.{kinds.get(kind, kind)}") if found else None
    if x is None:
      return np.zeros(shape.shape, shape.dtype)
    x = arrayed(x)
    x = x.transpose(*range(2, x.ndim), 1, 0) if kind == "kernel" else x
    assert x.shape == shape.shape, (path, x.shape, shape.shape)
    return x

  return jax.tree_util.tree_map_with_path(leaf, shapes)


def llama(words, tied=False, **sizes):
  """Transformers' Llama, whose attention takes a mask of all pairs."""
  import transformers as hf

  more = dict(vocab_size=words, rms_norm_eps=1e-5, tie_word_embeddings=tied)
  return hf.LlamaForCausalLM(hf.LlamaConfig(**sizes, **more, attn_implementation="eager"))


def small_llama(words, **sizes):
  """A tied `llama` away from where it begins, and a copy of its parameters by name."""
  network = llama(words, tied=True, **sizes).eval()
  moved(network)
  return network, {n: p.detach().clone() for n, p in network.named_parameters()}


def cut(path, *names, **given):
  """Classes and functions of a file by name, run without the rest; `given` is what they take."""
  body = [n for n in ast.parse(path.read_text()).body if getattr(n, "name", "") in names]
  exec(compile(ast.Module(body, []), str(path), "exec"), given)
  return [given[name] for name in names]
