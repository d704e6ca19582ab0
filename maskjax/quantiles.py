"""Schedules that are quantiles: of numbers drawn uniformly they make draws of a distribution."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special as traced
from jax.scipy import stats
from jaxtyping import Array, ArrayLike, Float, Real

from maskjax.errors import BadInput
from maskjax.pace import Schedule, clamp


def beta(a: float, b: float) -> Schedule:
  r"""The quantiles of a beta distribution: $f(u) = x$ where $I_x(a, b) = u$.

  Of numbers u that are drawn uniformly it makes draws of Beta(a, b). Both are positive, otherwise
  `BadInput`; above 1, `a` makes the slope at `u = 0` infinite, and `b` that at `u = 1`.

  >>> beta(2.0, 1.0)(jnp.array([0.0, 0.25, 1.0])).round(4).tolist()
  [0.0, 0.5, 1.0]

  Zhang et al., "mixup", 2018, section 2 (the share of the other example, with a = b).
  """
  if not (a > 0 and b > 0):
    raise BadInput(f"beta: a and b must be positive, got {a} and {b}")

  from scipy import special  # takes half a second, which other schedules need not pay

  # Points close to each other both in u and in x, as the curve may be steep or flat at its ends.
  grid = np.linspace(0, 1, 1 << 12)
  share = np.sort(np.concatenate([grid, special.betainc(a, b, grid)])).astype(np.float32)
  value = np.sort(np.concatenate([special.betaincinv(a, b, grid), grid])).astype(np.float32)

  @jax.custom_jvp
  def quantile(u: Float[Array, "*b"]) -> Float[Array, "*b"]:
    return jnp.interp(u, share, value)

  @quantile.defjvp
  def slope(primals: Any, tangents: Any) -> tuple[Array, Array]:
    x = quantile(*primals)
    return x, tangents[0] * jnp.exp(-stats.beta.logpdf(x, a, b))

  return lambda u: quantile(clamp(u))


def truncated_normal(mean: float, deviation: float, low: float, high: float) -> Schedule:
  r"""The quantiles of a normal distribution cut at both ends, $f(u) = \mu + \sigma\,\Phi^{-1}(q)$.

  $q = \Phi(a) + u\,(\Phi(b) - \Phi(a))$, where $a = (l - \mu) / \sigma$ and
  $b = (h - \mu) / \sigma$: of numbers u that are drawn uniformly it makes draws between `low` and
  `high`. `BadInput` unless the deviation is positive and low < high.

  Args:
    mean: $\mu$, before the cut.
    deviation: $\sigma$, before the cut, above 0.
    low: l, the value at 0.
    high: h, the value at 1.

  >>> [f"{x:.4f}" for x in truncated_normal(0.55, 0.25, 0.5, 1.0)(jnp.array([0.0, 0.5, 1.0]))]
  ['0.5000', '0.6757', '1.0000']

  Li et al., "MAGE", 2023, section 3.1 (the share of tokens that are hidden).
  """
  if not (deviation > 0 and low < high):
    raise BadInput(f"truncated_normal: {deviation=} must be positive, {low=} below {high=}")
  from scipy import special

  first, last = (float(special.ndtr((x - mean) / deviation)) for x in (low, high))

  def value(u: Real[ArrayLike, "*b"]) -> Float[Array, "*b"]:
    u = clamp(u)
    x = mean + deviation * traced.ndtri(first + u * (last - first))
    inside = jnp.where(x < low, low, jnp.where(x > high, high, x))
    return jnp.where(u == 0, low, jnp.where(u == 1, high, inside))

  return value
