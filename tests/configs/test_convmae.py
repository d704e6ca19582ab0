"""ConvMAE (Gao et al. 2022), section 3: one mask at all strides, and convolutions that keep it."""

import json
import pathlib

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "convmae.json").read_text())
wave = lambda n, shift=0: np.sin((np.arange(n) + shift) ** 2 % 1009).astype(np.float32)


def test_seen_patches_make_what_they_do_in_the_authors_code(built):
  made = built("convmae")
  flat = flatten_dict(made.initial["params"], sep="/")
  for i, name in enumerate(GOLDEN["names"]):
    own = 0.3 * wave(flat[name].size, i) + name.endswith("scale")
    flat[name] = own.astype(np.float32).reshape(flat[name].shape)
  image = wave(2 * 224 * 224 * 3).reshape(2, 224, 224, 3)
  hidden = np.unpackbits(np.frombuffer(bytes.fromhex(GOLDEN["hidden"]), np.uint8)).astype(bool)
  cells = hidden.reshape(2, 14, 14, 1).repeat(16, 1).repeat(16, 2)

  @jax.jit
  def told(params, image, scores):
    variables, batch = {**made.initial, "params": unflatten_dict(params, sep="/")}, {"image": image}
    graph, given = made.task.loss.__self__, {"scores": scores}
    run, _ = graph.run(variables, batch, None, 0, given=given)
    return run.all(("hidden", "out.tokens", "answers.features"))

  # NaN in hidden patches reaches no stage; convolutions of the whole image are far from that.
  run = lambda *args: jax.device_get(told(*args, wave(392).reshape(2, 196)))
  found, out, features = run(flat, np.where(cells, np.float32(np.nan), image))
  np.testing.assert_array_equal(found.ravel(), hidden)
  tokens = out[:, ::4, ::2].ravel()
  np.testing.assert_allclose(tokens, GOLDEN["latent"], atol=1e-4)
  assert np.abs(tokens - GOLDEN["plain"]).max() > 0.1
  # Features are of the last block alone: what finer stages add changes nothing.
  _, out, same = run({k: v * ("fuse" not in k) for k, v in flat.items()}, image)
  np.testing.assert_array_equal(features["mean"], same["mean"])
  np.testing.assert_allclose(same["mean"], out.mean(1), atol=1e-5)


def test_the_mask_ignores_the_grid(built, ignores_the_grid):
  assert ignores_the_grid(built("convmae").masks["hidden"], (14, 14)) == [147]
