"""Makes flip.safetensors: the authors' tiny model, its inputs, where they lie and what they cost.

Run as `python tests/golden/make_flip.py FOLDER`, where jax and flax are and FOLDER is a checkout of
github.com/facebookresearch/flip at 9bf6bf8: its `models_flip.FLIP` is imported and run unchanged,
but for the exact GELU in place of its tanh approximation, and names that jax has since moved.
Weights have the code's names; the rest starts with `golden.`.
"""

import pathlib
import sys

import flax
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

exact = nn.gelu
nn.gelu = lambda x: exact(x, approximate=False)
jnp.float_ = jnp.float32
sys.path.insert(0, sys.argv[1])
import t5x.layers  # noqa: E402

t5x.layers.with_sharding_constraint = lambda x, axes: x
import models_flip  # noqa: E402

from configs import cfg_flip_large  # noqa: E402

SIDE, PATCH, WORDS, LENGTH = 8, 2, 11, 5
SLOPES = ("img_encoder/embedding/kernel", "txt_encoder/token_embedding/embedding", "logit_scale")


def shapes(config, side, length):
  """The shapes of the parameters of the model that a config of the code describes."""
  model = models_flip.FLIP(config=config.model)
  batch = {"image": jnp.zeros((2, side, side, 3)), "txt": jnp.zeros((2, length), int)}
  batch["txt_is_valid"] = batch["txt"]
  keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
  return jax.eval_shape(lambda: model.init(keys, batch, train=True))["params"]


def count(tree):
  """Numbers that are trained: the fixed table of positions is none."""
  flat = flatten_dict(dict(tree), sep="/")
  return sum(int(np.prod(x.shape)) for name, x in flat.items() if "pos_embedding" not in name)


large = cfg_flip_large.get_config()
parameters = count(shapes(large, 224, 32)) + 32 * large.model.model_txt.hidden_size

config = cfg_flip_large.get_config()
for part, width in ((config.model.model_img, 16), (config.model.model_txt, 12)):
  part.hidden_size = width
  part.transformer.update(mlp_dim=4 * width, num_heads=2, num_layers=2)
config.model.model_img.patches = ml_collections.ConfigDict({"size": (PATCH, PATCH)})
config.model.model_txt.vocab_size = WORDS
config.model.clr.proj_dim_out = 6

model = models_flip.FLIP(config=config.model)
rng = np.random.default_rng(0)
batch = {
  "image": jnp.asarray(rng.normal(size=(4, SIDE, SIDE, 3)), jnp.float32),
  "txt": jnp.asarray(rng.integers(0, WORDS, (4, LENGTH)), jnp.int32),
}
batch["txt_is_valid"] = jnp.ones_like(batch["txt"])
keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
variables = model.init(keys, batch, train=True)
params = flatten_dict(flax.core.unfreeze(variables["params"]), sep="/")
for name, value in params.items():
  if "pos_embedding" not in name or "txt" in name:
    scale = name.endswith("scale")
    params[name] = jnp.asarray(rng.normal(size=value.shape) * 0.3 + scale, jnp.float32)
params["logit_scale"] = jnp.full((1,), 2.0)
tree = flax.traverse_util.unflatten_dict({tuple(k.split("/")): v for k, v in params.items()})

# What the code hid, by listening to it.
hid = []
draw = models_flip.random_mask
models_flip.random_mask = lambda *given: hid.append(draw(*given)) or hid[-1]


def run(tree, train):
  """Loss and what is told of it; masks are drawn in training alone."""
  rngs = {"dropout": keys["dropout"]}
  return model.apply({"params": tree}, batch, train=train, rngs=rngs)


loss, told = run(tree, True)
hidden = np.asarray(hid[0][1]) == 1
_, whole = run(tree, False)
slopes = flatten_dict(dict(jax.grad(lambda tree: run(tree, True)[0])(tree)), sep="/")

golden = {
  **{name: np.asarray(batch[name]) for name in ("image", "txt")},
  "hidden": hidden.astype(np.uint8),
  "loss": np.asarray(loss),
  "tau": np.asarray(told["tau"]),
  "z_img": np.asarray(whole["z_img"]),
  "z_txt": np.asarray(whole["z_txt"]),
  **{f"slope.{name}": np.asarray(slopes[name]) for name in SLOPES},
  "parameters_of_large": np.asarray(parameters),
}
tensors = {name: np.asarray(value) for name, value in params.items()}
tensors |= {f"golden.{name}": np.ascontiguousarray(value) for name, value in golden.items()}
save_file(tensors, pathlib.Path(__file__).with_name("flip.safetensors"))
