"""FLIP beside its authors' code: masks, loss, gradient, two steps, decay, rates, parameters.

The code is github.com/facebookresearch/flip at 9bf6bf8, which is JAX: `models_flip.FLIP`, the AdamW
of utils/adamw.py, the filters of utils/opt_util.py and the learning rate of t5x. As in make_flip.py
GELU is exact and names that jax and optax have since moved are given; captions have no padding. It
takes square images only.
Run, where pytest is: python tests/golden/beside_flip.py CHECKOUT
"""

import pathlib
import runpy
import sys
import types

import beside
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

ROWS, SIDES, PATCH, WORDS, LENGTH, RATIO = 4, (10, 10), 2, 11, 5, 0.65
PLACES, EPOCHS = SIDES[0] * SIDES[1] // PATCH**2, (0.0, 10.0, 40.0, 5000.0, 9999.0)
TESTS = pathlib.Path(__file__).parents[1]


def public(folder):
  """The authors' modules."""
  from optax import tree_utils
  from optax._src import transform, utils

  exact = nn.gelu
  nn.gelu = lambda x, approximate=False: exact(x, approximate=False)
  jnp.float_, jax.tree_map = jnp.float32, jax.tree.map
  transform.bias_correction = tree_utils.tree_bias_correction
  utils.canonicalize_dtype = lambda x: x and jax.dtypes.canonicalize_dtype(x)
  beside.stubs("t5x.partitioning", "t5x.state_utils", "t5x.train_state", "t5x.model_info")
  beside.stubs("t5x.checkpoints", "t5x.optimizers")
  sys.path.insert(0, folder)
  import models_flip
  import t5x.layers
  from utils import adamw, opt_util

  t5x.layers.with_sharding_constraint = lambda x, axes: x
  from t5x import train_state_initializer

  from configs import cfg_flip_large

  return models_flip, cfg_flip_large.get_config, adamw, opt_util, train_state_initializer


def flat(tree):
  """By names with slashes."""
  return flatten_dict(dict(tree), sep="/")


def main(folder):
  """Runs both."""
  code, get_config, adamw, opt_util, starting = public(folder)
  config, large = get_config(), get_config()
  for part, width in ((config.model.model_img, 16), (config.model.model_txt, 12)):
    part.hidden_size = width
    part.transformer.update(mlp_dim=4 * width, num_heads=2, num_layers=2)
  config.model.model_img.patches = ml_collections.ConfigDict({"size": (PATCH, PATCH)})
  config.model.model_img.mask_ratio, config.model.model_txt.vocab_size = RATIO, WORDS
  config.model.clr.proj_dim_out = 6

  rng = np.random.default_rng(5)
  noise = rng.random((ROWS, PLACES)).astype(np.float32)
  image = rng.normal(size=(ROWS, *SIDES, 3)).astype(np.float32)
  caption = rng.integers(0, WORDS, (ROWS, LENGTH)).astype(np.int32)
  given = {"image": image, "txt": caption, "txt_is_valid": np.ones_like(caption)}
  model, keys = code.FLIP(config=config.model), {"dropout": jax.random.key(1)}
  shapes = jax.eval_shape(
    lambda: model.init({"params": keys["dropout"], **keys}, given, train=True)
  )
  weights = {}
  for name, x in flat(shapes["params"]).items():
    away = rng.normal(size=x.shape) * 0.3 + name.endswith("scale")
    weights[name] = jnp.asarray(away, jnp.float32)
  # The class token has no place: that row is used by ours alone.
  fixed = "img_encoder/posembed_encoder/pos_embedding"
  weights[fixed] = weights[fixed].at[:, 0].set(0)
  weights["logit_scale"] = jnp.full((1,), 2.0)
  hid, draw = [], code.random_mask
  code.random = types.SimpleNamespace(uniform=lambda key, shape: jnp.asarray(noise))
  code.random_mask = lambda *rest: hid.append(draw(*rest)) or hid[-1]

  def loss(tree):
    return model.apply({"params": unflatten_dict(tree, sep="/")}, given, train=True, rngs=keys)[0]

  named = unflatten_dict(weights, sep="/")
  both = (opt_util.filter_bias_and_norm, opt_util.filter_posembed)
  decays = jax.tree.map(
    lambda *keep: all(keep), *(opt_util.filter_parameters(named, one) for one in both)
  )
  decays = flat(decays)
  loss(weights)
  asked = np.asarray(hid[-1][1]) > 0
  tx = adamw.adamw(beside.RATE, **config.opt, mask=decays, mu_dtype=jnp.float32)
  tree, state, losses, slopes, after = weights, tx.init(weights), [], [], []
  for _ in range(2):
    cost, slope = jax.value_and_grad(lambda t: loss(t).sum())(tree)
    moves, state = tx.update(slope, state, tree)
    tree = {name: x + moves[name] for name, x in tree.items()}
    losses.append(float(cost)), slopes.append(slope), after.append(tree)

  from maskjax import lab
  from maskjax.record import Record

  def change(c):
    c.over.patch, c.select.ratio, c.score = (PATCH, PATCH), RATIO, "batch.noise"
    c.model.update(size="mu", width=16, depth=2, heads=2, dtype="float32")
    c.model.update(text_width=12, text_depth=2, text_heads=2, shared=6)

  def held(c):
    change(c)
    c.optimizer.update(beside.CONSTANT)

  words = tuple(map(str, range(WORDS)))
  record = Record("image", (*SIDES, 3), {"train": 65_536 * 19}, vocabulary=words, caption=LENGTH)
  batch = {"image": image, "caption": caption, "noise": noise, "position": np.arange(ROWS)}
  ours = beside.Method("flip", held, record, batch)
  name = runpy.run_path(str(TESTS / "model" / "test_dual_encoder.py"))["public"]
  buffers = {"encoder": {"position": np.asarray(weights[fixed][0])}}

  def read(tensors):
    def leaf(path, like):
      if "qkv" not in path:
        return np.asarray(tensors[name(path)]).reshape(like.shape)
      parts = [tensors[name(path.replace("qkv", part))] for part in ("query", "key", "value")]
      return np.concatenate([np.asarray(x) for x in parts], axis=-1)

    like = flat(ours.shapes["params"])
    return {
      "params": unflatten_dict({k: leaf(k, x) for k, x in like.items()}, sep="/"),
      "buffers": buffers,
    }

  slopes = [{k: x for k, x in slope.items() if k != fixed} for slope in slopes]
  ones = {k: np.full(x.shape, float(decays[k]), np.float32) for k, x in weights.items()}
  found, left = beside.trajectory(ours, read, (weights, losses, slopes, after), ones)
  hidden = ours.values(read(weights), "hidden")[0]
  each = large.samples_per_epoch // large.batch_size
  peak = large.learning_rate * large.batch_size / 256
  theirs = starting.create_learning_rate_fn(large, peak, each)
  rate = beside.Method("flip", change, record, batch).optimizer.rate
  whole = {"image": jnp.zeros((2, 224, 224, 3)), "txt": jnp.zeros((2, 32), int)}
  whole["txt_is_valid"], big = whole["txt"], code.FLIP(config=large.model)
  code.random = jax.random
  trained = jax.eval_shape(lambda: big.init({"params": keys["dropout"], **keys}, whole, train=True))
  count = sum(x.size for k, x in flat(trained["params"]).items() if k != fixed)
  found += [
    ("masks", beside.far(hidden, asked), beside.EXACT),
    (
      "rates",
      beside.far([rate(int(e * 19)) for e in EPOCHS], [theirs(int(e * each)) for e in EPOCHS]),
      beside.ROUNDED,
    ),
    ("parameters", abs(count - lab.note("flip")["scale"]["parameters"]), beside.EXACT),
  ]
  beside.row("flip", "facebookresearch/flip@9bf6bf8", found, left)


if __name__ == "__main__":
  main(sys.argv[1])
