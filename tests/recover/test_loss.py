"""Losses against plain numpy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.recover import absolute_error, smooth_l1, squared_error

LOSSES = {
  "squared": (squared_error, lambda gap: gap**2),
  "absolute": (absolute_error, np.abs),
  "smooth": (
    partial(smooth_l1, beta=0.8),
    lambda gap: np.where(abs(gap) < 0.8, gap**2 / 1.6, abs(gap) - 0.4),
  ),
}
compiled = {loss: jax.jit(loss) for loss, _ in LOSSES.values()}
slopes = {
  loss: jax.jit(jax.value_and_grad(lambda p, t, asked, loss=loss: loss(p, t, asked).sum, (0, 1)))
  for loss in compiled
}
every_loss = pytest.mark.parametrize(("loss", "cost"), LOSSES.values(), ids=LOSSES)


def draw(dtype=np.float32):
  rng = np.random.default_rng(0)
  prediction, target = rng.normal(size=(2, 3, 5, 4)).astype(dtype)
  return prediction, target, rng.random((3, 5)) < 0.6


@every_loss
def test_equals_numpy_and_counts_what_is_asked(loss, cost):
  prediction, target, asked = draw()
  term = compiled[loss](prediction, target, asked)
  gap = prediction.astype(np.float64) - target
  np.testing.assert_allclose(term.sum, cost(gap).mean(-1)[asked].sum(), rtol=1e-6)
  assert int(term.count) == asked.sum()
  assert term.count.dtype == jnp.int32


@every_loss
def test_nothing_asked_costs_nothing(loss, cost):
  prediction, target, _ = draw()
  term = compiled[loss](prediction, target, np.zeros((3, 5), bool))
  assert (float(term.sum), int(term.count)) == (0.0, 0)


@every_loss
@pytest.mark.parametrize("leak", [np.nan, np.inf])
def test_what_is_not_asked_reaches_neither_value_nor_gradient(loss, cost, leak):
  prediction, target, asked = draw()
  value_and_slopes = lambda p, t: slopes[loss](p, t, asked)
  spoil = lambda x: np.where(asked[..., None], x, np.float32(leak))
  clean = jax.tree.leaves(value_and_slopes(prediction, target))
  spoilt = [
    value_and_slopes(spoil(prediction), target),
    value_and_slopes(prediction, spoil(target)),
    value_and_slopes(spoil(prediction), spoil(target)),
  ]
  for result in spoilt:
    for a, b in zip(clean, jax.tree.leaves(result), strict=True):
      assert np.isfinite(a).all()
      np.testing.assert_array_equal(a, b)


@every_loss
def test_half_precision_is_compared_in_float32(loss, cost):
  prediction, target, asked = draw()
  half = prediction.astype(jnp.bfloat16)
  term = compiled[loss](half, target, asked)
  full = compiled[loss](half.astype(np.float32), target, asked)
  assert term.sum.dtype == jnp.float32
  assert float(term.sum) == float(full.sum)


def test_a_corner_needs_a_width():
  with pytest.raises(BadInput, match=r"smooth_l1 wants a beta above 0, got 0\.0"):
    smooth_l1(jnp.zeros((2, 3)), jnp.zeros((2, 3)), jnp.ones(2, bool), beta=0.0)
