"""Hiding in place: the position stays, its content is replaced."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Num

from maskjax import masks


def fill(
  x: Num[Array, "*b n d"], hidden: Bool[Array, "*b n"], value: Num[Array, "..."] | float
) -> Num[Array, "*b n d"]:
  """Removes: puts `value` (zero, a learned token, NaN, another sample) where `hidden` is True.

  Shapes: `value` broadcasts against `x`. Hidden content reaches neither the result nor a gradient.

  Args:
    x: what stands at n positions.
    hidden: True where hidden.
    value: what stands where hidden; broadcasts against `x`, and takes its dtype.

  Returns:
    `x`, with what is hidden replaced.

  Raises:
    TypeError: `hidden` is not bool.

  >>> fill(jnp.array([[1.], [2.]]), jnp.array([False, True]), 0.).tolist()
  [[1.0], [0.0]]
  """
  masks.check(hidden=hidden)
  return jnp.where(hidden[..., None], jnp.asarray(value, x.dtype), x)
