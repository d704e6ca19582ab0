"""What a wrong answer costs: each loss is a term, a sum over the asked positions and their count.

What stands at positions that are not asked, NaN included, reaches neither the term nor a gradient.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import masks, reduce


def squared_error(
  prediction: Float[Array, "*b n d"], target: Float[Array, "*b n d"], asked: Bool[Array, "*b n"]
) -> reduce.Term:
  r"""Squared error, meaned over a position's features.

  $\sum_{i\,\mathrm{asked}} \frac1d \lVert y_i - t_i\rVert^2$

  Source: He et al. 2022 (MAE), section 3, "Reconstruction target".

  >>> t = squared_error(jnp.zeros((2, 3)), jnp.ones((2, 3)), jnp.array([True, False]))
  >>> float(t.sum), int(t.count)
  (1.0, 1)
  """
  gap = _gap(prediction, target, asked)
  return reduce.term(jnp.mean(gap * gap, axis=-1), asked)


def absolute_error(
  prediction: Float[Array, "*b n d"], target: Float[Array, "*b n d"], asked: Bool[Array, "*b n"]
) -> reduce.Term:
  r"""Absolute error, meaned over a position's features.

  $\sum_{i\,\mathrm{asked}} \frac1d \lVert y_i - t_i\rVert_1$

  Source: Xie et al. 2022 (SimMIM), section 3.4.

  >>> t = absolute_error(jnp.zeros((2, 3)), 2 * jnp.ones((2, 3)), jnp.array([True, False]))
  >>> float(t.sum), int(t.count)
  (2.0, 1)
  """
  gap = _gap(prediction, target, asked)
  return reduce.term(jnp.mean(jnp.abs(gap), axis=-1), asked)


def _gap(
  prediction: Float[Array, "*b n d"], target: Float[Array, "*b n d"], asked: Bool[Array, "*b n"]
) -> Float[Array, "*b n d"]:
  """Prediction minus target in float32, zero where nothing is asked."""
  masks.check(asked=asked)
  # Cut here, not only in the sum: the slope of an error at NaN is NaN, and 0 · NaN too.
  gap = prediction.astype(jnp.float32) - target.astype(jnp.float32)
  return jnp.where(asked[..., None], gap, 0)
