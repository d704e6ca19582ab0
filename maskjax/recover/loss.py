"""What a wrong answer costs: each loss is a term, a sum over the asked positions and their count.

What stands at positions that are not asked, NaN included, reaches neither the term nor a gradient.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import masks, reduce
from maskjax.errors import BadInput


def squared_error(
  prediction: Float[Array, "*b n d"], target: Float[Array, "*b n d"], asked: Bool[Array, "*b n"]
) -> reduce.Term:
  r"""Squared error, meaned over a position's features.

  $\sum_{i\,\mathrm{asked}} \frac1d \lVert y_i - t_i\rVert^2$

  Args:
    prediction: of d features a position.
    target: what they should be.
    asked: True where the loss counts.

  Returns:
    The sum over the asked positions, and how many these are.

  Source: He et al. 2022 (MAE), section 3, "Reconstruction target".

  >>> t = squared_error(jnp.zeros((2, 3)), jnp.ones((2, 3)), jnp.array([True, False]))
  >>> float(t.sum), int(t.count)
  (1.0, 1)
  """
  off = gap(prediction, target, asked)
  return reduce.term(jnp.mean(off * off, axis=-1), asked)


def absolute_error(
  prediction: Float[Array, "*b n d"], target: Float[Array, "*b n d"], asked: Bool[Array, "*b n"]
) -> reduce.Term:
  r"""Absolute error, meaned over a position's features.

  $\sum_{i\,\mathrm{asked}} \frac1d \lVert y_i - t_i\rVert_1$

  Args:
    prediction: of d features a position.
    target: what they should be.
    asked: True where the loss counts.

  Returns:
    The sum over the asked positions, and how many these are.

  Source: Xie et al. 2022 (SimMIM), section 3.4.

  >>> t = absolute_error(jnp.zeros((2, 3)), 2 * jnp.ones((2, 3)), jnp.array([True, False]))
  >>> float(t.sum), int(t.count)
  (2.0, 1)
  """
  return reduce.term(jnp.mean(jnp.abs(gap(prediction, target, asked)), axis=-1), asked)


def smooth_l1(
  prediction: Float[Array, "*b n d"],
  target: Float[Array, "*b n d"],
  asked: Bool[Array, "*b n"],
  *,
  beta: float = 1.0,
) -> reduce.Term:
  r"""Absolute error that is squared near zero, meaned over a position's features.

  $\sum_{i\,\mathrm{asked}} \frac1d \sum_j \ell(y_{ij} - t_{ij})$ with $\ell(g) = g^2 / (2 \beta)$
  where $|g| < \beta$, else $|g| - \beta / 2$.

  Args:
    prediction: of d features a position.
    target: what they should be.
    asked: True where the loss counts.
    beta: the error below which the loss is quadratic, above 0.

  Returns:
    The sum over the asked positions, and how many these are.

  Raises:
    BadInput: a `beta` that is not positive.

  Source: Girshick 2015 (Fast R-CNN), equation 3; with beta, Baevski et al. 2022 (data2vec),
  section 3.3.

  >>> gap = jnp.array([[0.5, 3.0]])
  >>> float(smooth_l1(gap, jnp.zeros((1, 2)), jnp.array([True])).sum)
  1.3125
  """
  if not beta > 0:
    raise BadInput(f"smooth_l1 wants a beta above 0, got {beta}")
  off = jnp.abs(gap(prediction, target, asked))
  cost = jnp.where(off < beta, off * off / (2 * beta), off - beta / 2)
  return reduce.term(jnp.mean(cost, axis=-1), asked)


def gap(
  prediction: Float[Array, "*b n d"], target: Float[Array, "*b n d"], asked: Bool[Array, "*b n"]
) -> Float[Array, "*b n d"]:
  """Prediction minus target in float32, zero where nothing is asked."""
  masks.check(asked=asked)
  # Cut here, not only in the sum: the slope of an error at NaN is NaN, and 0 · NaN too.
  off = prediction.astype(jnp.float32) - target.astype(jnp.float32)
  return jnp.where(asked[..., None], off, 0)
