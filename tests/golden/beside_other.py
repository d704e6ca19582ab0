"""What the scripts `beside_ID.py` share: the config's side of two steps, and the row they print.

They are run by hand, with PyTorch 2.13, the packages of constraints.txt and the authors' code at
the commit that each names: `python tests/golden/beside_ID.py CHECKOUT`.
"""

import contextlib
import os
import pathlib
import sys
import tempfile
import types

import numpy as np

os.environ.setdefault("JAX_PLATFORMS", "cpu")
STEP, LOSS, EXACT = 1e-4, 1e-5, 0.0
# Of Adam's second step: the ratio of two gradients, each with its rounding.
SECOND = 1e-3
# A gradient below this share of the largest is mostly rounding, and Adam divides by it.
ROUNDING = 1e-4
# Of both sides' steps: large, so that moves are far above the rounding of parameters.
RATE = 0.05
CONSTANT = dict(learning_rate=RATE, scale_by_batch=0, schedule="constant", end=0.0)
CONSTANT |= dict(warmup_epochs=0.0, warmup_steps=0)


@contextlib.contextmanager
def standing_in(folder, **modules):
  """`folder` is imported from, and these names are modules with these members, while it lasts.

  Dots are written as two underscores. Afterwards the names are gone: torch and jax look some up.
  """
  names = {name.replace("__", "."): members for name, members in modules.items()}
  for name, members in names.items():
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(members)
  sys.path.insert(0, str(folder))
  yield
  sys.path.remove(str(folder))
  for name in names:
    del sys.modules[name]


class Method:
  """A config after `change`, for data of `record`.

  Attributes:
    config, task, optimizer: as a run has them.
    shapes: of its variables for `batch`.
  """

  def __init__(self, name, change, record, batch, seed=0):
    import jax

    from maskjax import lab
    from maskjax.train.run import plain
    from maskjax.train.setup.build import make_optimizer, make_task, run_lengths

    jax.config.update("jax_default_matmul_precision", "highest")
    file = next((pathlib.Path(__file__).parents[2] / "configs").rglob(f"{name}.py"))
    c = lab.load(file).get_config()
    with c.ignore_type():
      change(c)
    self.config, self.seed = plain(c), seed
    self.task, self.batch = make_task(self.config, record), jax.device_put(batch)
    self.shapes = jax.eval_shape(self.task.init, jax.random.key(0), self.batch)
    steps = run_lengths(self.config, record).total_steps
    examples = record.sizes[self.config["data"].get("train", "train")]
    lengths = {"batch_size": c.batch_size, "examples": examples}
    self.optimizer = make_optimizer(self.config, self.shapes["params"], steps, **lengths)

  def steps(self, variables, count=2, first=0):
    """What `count` steps on the batch give: losses, gradient norms, parameters after each."""
    import jax

    from maskjax.train.state import State, init_opt_state
    from maskjax.train.step import make_step

    made = self.optimizer
    state = State(np.int32(first), jax.random.key(self.seed), variables, None, {})
    state = state._replace(opt_state=init_opt_state(made.tx, variables))
    step, out = jax.jit(make_step(self.task, made.tx, held=made.held)), []
    for _ in range(count):
      state, metrics = step(state, self.batch)
      params = jax.device_get(state.variables["params"])
      out.append((float(metrics["loss"]), float(metrics["gradient"]), params))
    return tuple(zip(*out, strict=True))

  def values(self, variables, *names, step=0):
    """Named values of a step's loss, as the training step draws them."""
    import jax

    from maskjax.keys import stream

    masked, key = self.task.loss.__self__, stream(jax.random.key(self.seed), "loss")
    run = lambda v, batch: masked.run(v, batch, key, step, train=True)[0].all(names)
    return jax.device_get(jax.jit(run)(variables, self.batch))

  def read(self, tensors, **where):
    """The variables from tensors by names of published weights; those not there are zeros."""
    return published(self.shapes, tensors, **where)


def published(shapes, tensors, **where):
  """Variables of these shapes, likewise."""
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


def arrayed(x):
  """A tensor of either library as numpy's."""
  return x.detach().numpy() if hasattr(x, "detach") else np.asarray(x)


def steps(model, optimizer, loss, count=2, before=lambda: None):
  """What `count` steps of the authors' optimizer give: losses, gradients, parameters after each.

  `loss()` runs their model; `before()` comes before each step of the optimizer, as clipping.
  """
  out = []
  for _ in range(count):
    optimizer.zero_grad()
    cost = loss()
    cost.backward()
    slopes = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    before()
    optimizer.step()
    out.append((cost.item(), slopes, {n: p.detach().clone() for n, p in model.named_parameters()}))
  return tuple(zip(*out, strict=True))


def llama(words, tied=False, **sizes):
  """Transformers' Llama, whose attention takes a mask of all pairs."""
  import transformers as hf

  more = dict(vocab_size=words, rms_norm_eps=1e-5, tie_word_embeddings=tied)
  return hf.LlamaForCausalLM(hf.LlamaConfig(**sizes, **more, attn_implementation="eager"))


def cut(path, *names, **given):
  """Classes and functions of a file by name, run without the rest; `given` is what they take."""
  import ast

  body = [n for n in ast.parse(path.read_text()).body if getattr(n, "name", "") in names]
  exec(compile(ast.Module(body, []), str(path), "exec"), given)
  return [given[name] for name in names]


def norm(tensors):
  """The global norm of tensors by name."""
  return float(np.sqrt(sum((arrayed(x).astype(np.float64) ** 2).sum() for x in tensors.values())))


def decayed(optimizer, model):
  """Which parameters a PyTorch optimizer decays, as arrays of ones and zeros by name."""
  strength = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
  ones = lambda p: np.full(p.shape, float(strength.get(id(p), 0) > 0), np.float32)
  return {name: ones(p) for name, p in model.named_parameters() if p.requires_grad}


def of_decays(method):
  """Which parameters the config decays, likewise, as a tree."""
  import jax

  strong = method.config["optimizer"].get("weight_decay", 0) > 0
  fill = lambda x, d: np.full(x.shape, float(bool(d) and strong), np.float32)
  return jax.tree.map(fill, method.shapes["params"], method.optimizer.decays)


def far(ours, theirs):
  """The largest difference of two trees, of masks or counts how many differ, else relative."""
  import jax

  assert jax.tree.structure(ours) == jax.tree.structure(theirs)
  pairs = [(arrayed(a), arrayed(b)) for a, b in
           zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)]  # fmt: skip
  assert all(a.shape == b.shape for a, b in pairs), [(a.shape, b.shape) for a, b in pairs]
  if pairs[0][1].dtype.kind in "biu":
    return float(sum((a != b).sum() for a, b in pairs))
  largest = max(np.abs(b).max(initial=0) for _, b in pairs)
  return float(max(np.abs(a - b).max(initial=0) for a, b in pairs) / (largest or 1))


def moves(before, ours, theirs, slopes):
  """How far the moves of parameters lie apart: after a step by maximum, after two by norm.

  All are trees of our names; `slopes` the authors' gradients. Left out is where these are rounding.
  """
  import jax

  flat = lambda tree: np.concatenate([np.ravel(arrayed(x)).astype(np.float64)
                                      for x in jax.tree.leaves(tree)])  # fmt: skip
  size, begin = np.abs(flat(slopes)), flat(before)
  known = size > ROUNDING * size.max()
  a, b = ([(flat(after) - begin)[known] for after in each] for each in (ours, theirs))
  first = np.abs(a[0] - b[0]).max() / np.abs(b[0]).max()
  second = np.linalg.norm(a[-1] - b[-1]) / np.linalg.norm(b[-1])
  return float(first), float(second), f"{1 - known.mean():.1%} of the entries left out"


def row(name, code, compared, note=""):
  """Prints what was compared as a row of a table, and ends with status 1 if anything is far.

  Args:
    name: of the method.
    code: repository@commit, or "oracle".
    compared: (what, largest difference, tolerance) of each.
    note: to be said beside.
  """
  said = [f"{what} {gap:.1e} (≤ {room:.0e})" if room else f"{what} {gap:g} (0)"
          for what, gap, room in compared]  # fmt: skip
  print(f"| {name} | {code} | {'; '.join(said)} | {note} |")
  wrong = [what for what, gap, room in compared if not gap <= room]
  sys.exit(f"{name} is far in: {', '.join(wrong)}" if wrong else 0)
