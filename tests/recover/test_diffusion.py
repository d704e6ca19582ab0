"""Weights of masked diffusion's bound: finite at every time that can be drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.recover import elbo, noise_level
from maskjax.schedule import power


@pytest.mark.parametrize("exponent", [0.5, 2.0])
def test_a_bound_at_time_0_is_finite_and_so_is_its_slope(exponent):
  """The slope of t^½ is infinite at 0, where almost nothing is hidden."""
  times, target = jnp.float32([0, 0.25]), jnp.zeros((2, 3), jnp.int32)
  hidden = jnp.array([[False] * 3, [True, False, False]])

  def nats(logits):
    level = noise_level(times, power(1.0, 0.0, power=exponent))
    term = elbo(logits, target, hidden, weight=level.weight)
    return term.sum, level.weight

  run = jax.jit(jax.value_and_grad(nats, has_aux=True))
  (total, weight), slope = run(np.zeros((2, 3, 4), np.float32))
  expected = exponent * 0.25 ** (exponent - 1) / 0.25**exponent
  np.testing.assert_allclose(weight[1], expected, rtol=3e-3)
  np.testing.assert_allclose(total, expected * np.log(4), rtol=3e-3)
  assert np.isfinite(weight).all()
  assert np.isfinite(slope).all()
