"""Layer masking (Balasubramanian and Feizi 2023), section 3: no layer sees what is hidden."""

import jax
import numpy as np


def test_what_is_hidden_is_filled_in_from_its_border_and_never_seen(built):
  made = built("layer_masking", "laptop")
  rng = np.random.default_rng(0)
  noise = rng.normal(size=(2, 32, 32, 3)).astype(np.float32)
  plain = np.broadcast_to(np.float32([0.3, -0.2, 0.5]), (32, 32, 3))
  hole = np.zeros((32, 32), bool)
  hole[12:18, 13:20] = True
  filled = np.where(hole[..., None], noise[1], noise[0])
  spoilt = np.where(hole[..., None], noise[1], plain)
  images = np.stack([noise[0], filled, noise[0], plain, spoilt])
  hidden = np.stack([hole, hole, ~hole & hole, ~hole & hole, hole])
  predict = jax.jit(lambda v, x, h: made.task.answers["predict"](v, {"image": x}, h))
  logits = np.asarray(predict(made.variables, images, hidden))
  # Whatever is there does not matter, but that it is hidden does.
  assert np.abs(logits[0] - logits[1]).max() < 1e-5
  assert np.abs(logits[0] - logits[2]).max() > 1e-3
  # A hole in a plain image is filled in with its colour: nearly as if there were none (not quite,
  # since what the zeros around the image do to it reaches further layer by layer).
  assert np.abs(logits[3] - logits[4]).max() < 4e-4
