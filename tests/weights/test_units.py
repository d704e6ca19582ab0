"""Units of weights against plain loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.weights.units import check, scores_of, spread

SHAPE = (4, 6, 2)
UNITS = [(0, 1), (0, 2), (1, 3), (-1, 1), (-2, 6), (2, 2)]


@functools.cache
def of_all():
  """Some scores, those of every unit, and every unit hidden by itself, of one program."""
  scores = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)

  def each(unit):
    number = SHAPE[unit[0]] // unit[1]
    return [spread(jnp.arange(number) == i, unit, SHAPE) for i in range(number)]

  every = jax.jit(lambda s: {unit: (scores_of(s, unit), each(unit)) for unit in UNITS})
  return scores, jax.device_get(every(scores))


@pytest.mark.parametrize("unit", UNITS)
def test_the_score_of_a_unit_is_the_mean_of_its_weights(unit):
  scores, found = of_all()
  moved = np.moveaxis(scores, unit[0], 0)
  expected = [moved[i : i + unit[1]].mean() for i in range(0, len(moved), unit[1])]
  np.testing.assert_allclose(found[unit][0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("unit", UNITS)
def test_all_weights_of_a_unit_are_hidden_together(unit):
  for i, whole in enumerate(of_all()[1][unit][1]):
    expected = np.zeros(SHAPE, bool)
    np.moveaxis(expected, unit[0], 0)[i * unit[1] : (i + 1) * unit[1]] = True
    np.testing.assert_array_equal(whole, expected)


@pytest.mark.parametrize("unit", [(3, 1), (-4, 1), (0, 3), (0, 0), (0, 1.5), 2, (1, 2, 3), "ab"])
def test_what_does_not_cut_a_weight_is_refused(unit):
  with pytest.raises(BadInput, match="kernel"):
    check(unit, SHAPE, "kernel")
