"""What a mask is: bool, True = hidden (contract 1); other conventions convert here, by name.

Soft masks are gates: floats, 1 = kept.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def check(**masks: Any) -> None:
  """Makes sure that every mask, given by its name, is bool: 0 and 1 do not say which one hides.

  Raises:
    TypeError: naming the mask and its type.

  >>> check(hidden=jnp.array([True, False]))
  >>> check(hidden=jnp.array([1, 0]))
  Traceback (most recent call last):
  TypeError: hidden is a mask of bool, got an array of int32
  """
  for name, mask in masks.items():
    dtype = getattr(mask, "dtype", None)
    if dtype != jnp.bool_:
      came = type(mask).__name__ if dtype is None else f"an array of {dtype}"
      raise TypeError(f"{name} is a mask of bool, got {came}")


def to_keep(hidden: Bool[Array, "..."]) -> Bool[Array, "..."]:
  """The mask of those who mark what stays: True = kept (pruning masks, SparK, GIVT).

  >>> to_keep(jnp.array([True, False])).tolist()
  [False, True]
  """
  check(hidden=hidden)
  return ~hidden


def from_keep(kept: Bool[Array, "..."]) -> Bool[Array, "..."]:
  """Our mask from one that marks what stays.

  >>> from_keep(jnp.array([True, False])).tolist()
  [False, True]
  """
  check(kept=kept)
  return ~kept


def to_attend(hidden: Bool[Array, "*b k"], queries: int) -> Bool[Array, "*b 1 q k"]:
  """The attention mask of linen and `jax.nn`: True = may be attended to, `[*b, heads = 1, q, k]`.

  Hidden keys are closed to every one of the `queries`. A row with every key hidden gives zeros in
  `maskjax.model.attention`; in linen and `jax.nn` it becomes the mean of all values.

  >>> to_attend(jnp.array([[True, False]]), queries=2).tolist()
  [[[[False, True], [False, True]]]]
  """
  check(hidden=hidden)
  rows = ~hidden[..., None, None, :]
  return jnp.broadcast_to(rows, (*hidden.shape[:-1], 1, queries, hidden.shape[-1]))


def gated(x: Float[Array, "..."], gate: Float[Array, "..."]) -> Float[Array, "..."]:
  """`x · gate`, broadcast, where 0 times anything, NaN too, is 0.

  No gradient reaches content behind a closed gate. The slope of a gate is the content behind it,
  of a closed one too, so that a learned gate can open again; infinite or NaN content counts 0
  there.

  >>> gated(jnp.array([2., jnp.nan]), jnp.array([0.5, 0.])).tolist()
  [1.0, 0.0]
  """
  return _gated(x, gate).astype(x.dtype)


# A rule of its own: by `where` alone a closed gate has no slope, by the product 0 · NaN is NaN.
@jax.custom_jvp
def _gated(x, gate):  # type: ignore[no-untyped-def]
  return jnp.where(gate == 0, 0, x * gate)


@_gated.defjvp
def _slopes(primals, tangents):  # type: ignore[no-untyped-def]
  (x, gate), (dx, dgate) = primals, tangents
  closed = gate == 0
  behind = jnp.where(closed & ~jnp.isfinite(x), 0, x)
  return _gated(x, gate), jnp.where(closed, 0, dx * gate) + behind * dgate
