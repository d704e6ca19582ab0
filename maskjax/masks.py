"""What a mask is: bool, True = hidden (contract 1); other conventions convert here, by name."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool


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
