"""MFM (Xie et al. 2023), section 3: a band of frequencies is removed, and asked for by itself."""

import json
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np

from maskjax import hide, over, recover, score, select, task
from maskjax.record import Record

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
MADE = runpy.run_path(str(GOLDEN / "make_mfm_frequency.py"))
PUBLIC = json.loads((GOLDEN / "mfm_frequency.json").read_text())


def band(grid, radius, low):
  key = jax.random.key(0)
  return select.threshold(score.band(key, grid, radius=radius, low=low), above=0.0)


def test_all_low_or_all_high_frequencies_are_hidden_by_a_coin(built):
  hidden = built("mfm_frequency").masks["hidden"].reshape(-1, 224 * 224)
  y, x = np.mgrid[-112:112, -112:112]
  low = (y**2 + x**2 < 16**2).ravel()
  which = (hidden == low).all(-1)
  np.testing.assert_array_equal(hidden, np.where(which[:, None], low, ~low))
  assert 4 <= which.sum() <= 20  # of 24
  np.testing.assert_array_equal(band((5,), 0.2, 1.0), ~band((5,), 0.2, 0.0))


def test_the_cosine_is_counted_from_the_first_step_as_in_the_public_code(built, shares_of_the_peak):
  made = built("mfm_frequency")
  at = made.total_steps * np.array([0.1, 0.5, 0.9]) // 1
  found = shares_of_the_peak(made, at.astype(np.int32))
  want = 1 / 120 + 119 / 120 * (1 + np.cos(np.pi * at / made.total_steps)) / 2
  np.testing.assert_allclose(found, want, rtol=1e-3)


def test_it_agrees_with_the_public_code():
  """Bands exactly, images 1e-5, loss 1e-5 and gradient 1e-4 of their size: set before the run."""
  for row in PUBLIC["bands"]:
    found = band((row["side"],) * 2, row["radius"] / row["side"], 1.0)
    assert np.flatnonzero(found).tolist() == row["low"]
  record = Record("image", (8, 12, 3), {}, mean=MADE["MEAN"], std=MADE["STD"])
  words = over.frequencies(record=record)
  image = (MADE["images"]().transpose(0, 2, 3, 1) - record.mean) / record.std
  values = words.read({"image": image}).values
  hidden = jnp.stack([band((8, 12), 0.2, low) for low in (1.0, 0.0)])
  left = hide.fill(values, hidden, task.black(words, record))
  shown = task.clipped(words.back(left), record)
  expected = np.transpose(PUBLIC["shown"], (0, 2, 3, 1))
  np.testing.assert_allclose(shown[:, ::3, ::2], expected, atol=1e-5)

  def loss(kernel):
    predicted = task.at_positions(shown @ kernel.T, words, record)
    term = recover.complex_distance(predicted, values, hidden)
    return term.sum / term.count

  found, slope = jax.jit(jax.value_and_grad(loss))(MADE["KERNEL"])
  np.testing.assert_allclose(found, PUBLIC["loss"], rtol=1e-5)
  np.testing.assert_allclose(slope, PUBLIC["gradient"], rtol=1e-4)
