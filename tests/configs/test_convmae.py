"""ConvMAE (Gao et al. 2022), section 3: one mask at all strides, and convolutions that keep it."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from maskjax import select

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "convmae.json").read_text())
wave = lambda n, shift=0: np.sin((np.arange(n) + shift) ** 2 % 1009).astype(np.float32)


def test_seen_patches_make_what_they_do_in_the_authors_code(built):
  hidden = select.top(jnp.asarray(wave(392).reshape(2, 196)), ratio=0.75, rounding="up")
  assert np.packbits(hidden).tobytes().hex() == GOLDEN["hidden"]
  made = built("convmae")
  flat = flatten_dict(made.initial["params"], sep="/")
  for i, name in enumerate(GOLDEN["names"]):
    own = 0.3 * wave(flat[name].size, i) + name.endswith("scale")
    flat[name] = own.astype(np.float32).reshape(flat[name].shape)
  image = wave(2 * 224 * 224 * 3).reshape(2, 224, 224, 3)
  cells = np.repeat(np.repeat(hidden.reshape(2, 14, 14, 1), 16, 1), 16, 2)

  @jax.jit
  def told(params, image):
    variables, batch = {**made.initial, "params": unflatten_dict(params, sep="/")}, {"image": image}
    graph, given = made.task.loss.__self__, {"hidden": hidden}
    run, _ = graph.run(variables, batch, None, 0, keep=49, given=given)
    return run.take("out.tokens"), run.take("answers.features")["mean"]

  # NaN in hidden patches reaches no stage; convolutions of the whole image are far from that.
  out, features = told(flat, jnp.where(cells, jnp.nan, image))
  tokens = np.asarray(out)[:, ::4, ::2].ravel()
  np.testing.assert_allclose(tokens, GOLDEN["latent"], atol=1e-4)
  assert np.abs(tokens - GOLDEN["plain"]).max() > 0.1
  # Features are of the last block alone: what finer stages add changes nothing.
  out, same = told({k: v * ("fuse" not in k) for k, v in flat.items()}, image)
  np.testing.assert_array_equal(features, same)
  np.testing.assert_allclose(features, out.mean(1), atol=1e-5)


def test_the_mask_ignores_the_grid(built, ignores_the_grid):
  assert ignores_the_grid(built("convmae").masks["hidden"], (14, 14)) == [147]
