"""Units of weights against plain loops."""

import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.weights.units import check, scores_of, spread

SHAPE = (4, 6, 2)
UNITS = [(0, 1), (0, 2), (1, 3), (-1, 1), (-2, 6), (2, 2)]


@pytest.mark.parametrize("unit", UNITS)
def test_the_score_of_a_unit_is_the_mean_of_its_weights(unit):
  scores = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
  moved = np.moveaxis(scores, unit[0], 0)
  expected = [moved[i : i + unit[1]].mean() for i in range(0, len(moved), unit[1])]
  np.testing.assert_allclose(scores_of(jnp.asarray(scores), unit), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("unit", UNITS)
def test_all_weights_of_a_unit_are_hidden_together(unit):
  units = SHAPE[unit[0]] // unit[1]
  for i in range(units):
    whole = np.asarray(spread(jnp.arange(units) == i, unit, SHAPE))
    expected = np.zeros(SHAPE, bool)
    np.moveaxis(expected, unit[0], 0)[i * unit[1] : (i + 1) * unit[1]] = True
    np.testing.assert_array_equal(whole, expected)


@pytest.mark.parametrize("unit", [(3, 1), (-4, 1), (0, 3), (0, 0), (0, 1.5), 2, (1, 2, 3), "ab"])
def test_what_does_not_cut_a_weight_is_refused(unit):
  with pytest.raises(BadInput, match="kernel"):
    check(unit, SHAPE, "kernel")
