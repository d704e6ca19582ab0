"""Boxes: the top of the scores is one box, of the grid's proportions, wherever its centre is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import keys, score, select

KEY = jax.random.key(0)


@pytest.mark.parametrize("grid", [(12,), (8, 8), (6, 12), (4, 4, 6)])
def test_the_best_by_their_score_fill_a_box(grid):
  scores = np.asarray(score.box(keys(KEY, 32), grid)).reshape(-1, *grid)
  for field in scores:
    for level in np.unique(field)[1:]:
      inside = np.argwhere(field >= level)
      assert np.prod(np.ptp(inside, axis=0) + 1) == len(inside)


def test_boxes_keep_the_proportions_of_the_grid_and_an_exact_count():
  hidden = np.asarray(select.top(score.box(keys(KEY, 200), (8, 16)), count=32)).reshape(-1, 8, 16)
  assert (hidden.sum((1, 2)) == 32).all()
  sides = np.array([np.ptp(np.argwhere(h), axis=0) + 1 for h in hidden])
  assert (sides[:, 1] >= sides[:, 0]).all()


def test_every_position_can_be_the_centre():
  best = np.asarray(score.box(keys(KEY, 400), (3, 4))).argmax(-1)
  assert set(best.tolist()) == set(range(12))
  assert score.box(keys(KEY, jnp.arange(8).reshape(2, 4)), (3, 4)).shape == (2, 4, 12)
