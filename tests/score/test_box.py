"""Boxes: the top of the scores is one box, of the grid's proportions, wherever its centre is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import keys, score, select

KEY = jax.random.key(0)
GRIDS = [(12,), (8, 8), (6, 12), (4, 4, 6)]


@functools.cache
def drawn():
  """Scores on every grid, and what else is asked of them, of one program."""

  def of_all(key):
    scores = {grid: score.box(keys(key, 32), grid) for grid in GRIDS}
    hidden = select.top(score.box(keys(key, 200), (8, 16)), count=32)
    folded = score.box(keys(key, jnp.arange(8).reshape(2, 4)), (3, 4))
    return scores, hidden, score.box(keys(key, 400), (3, 4)), folded

  return jax.device_get(jax.jit(of_all)(KEY))


@pytest.mark.parametrize("grid", GRIDS)
def test_the_best_by_their_score_fill_a_box(grid):
  scores = drawn()[0][grid].reshape(-1, *grid)
  for field in scores:
    for level in np.unique(field)[1:]:
      inside = np.argwhere(field >= level)
      assert np.prod(np.ptp(inside, axis=0) + 1) == len(inside)


def test_boxes_keep_the_proportions_of_the_grid_and_an_exact_count():
  hidden = drawn()[1].reshape(-1, 8, 16)
  assert (hidden.sum((1, 2)) == 32).all()
  sides = np.array([np.ptp(np.argwhere(h), axis=0) + 1 for h in hidden])
  assert (sides[:, 1] >= sides[:, 0]).all()


def test_every_position_can_be_the_centre():
  scores, folded = drawn()[2:]
  assert set(scores.argmax(-1).tolist()) == set(range(12))
  assert folded.shape == (2, 4, 12)
