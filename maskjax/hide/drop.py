"""Hiding by leaving out: hidden positions are dropped and the visible ones packed together."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Num

from maskjax import masks


class Seen(NamedTuple):
  """What is left to see, as every hider of a task gives it.

  Attributes:
    values: `values[k]` stood at position `index[k]`; of hiding in place, all n positions. Vectors,
      or ids `[*b k]`.
    index: None where all positions are there, in order.
    valid: False where a slot is padding; None where none is.
    hidden: the positions that are not seen.
  """

  values: Num[Array, "*b k d"]
  index: Int[Array, "*b k"]  # type: ignore[assignment]
  valid: Bool[Array, "*b k"]
  hidden: Bool[Array, "*b n"]


def drop(
  x: Num[Array, "..."],
  hidden: Bool[Array, "*b n"],
  allowed: Bool[Array, "*b n"] | None = None,
  *,
  keep: int,
  exact: bool = False,
) -> Seen:
  """Removes: packs the visible positions, in order, into `keep` slots.

  Fewer visible positions are padded with zeros at index 0, `valid` False; of more than `keep`, the
  later ones are left out. Hidden content reaches neither result nor gradient.

  Args:
    x: what stands at n positions: vectors `[*b n d]`, or ids `[*b n]`.
    hidden: which of them are dropped.
    allowed: which of them are there at all; the others are dropped too. None: all.
    keep: number of slots, static.
    exact: promises that `keep` positions are visible in every example: then, if all are allowed,
      nothing is `valid` or not.

  Raises:
    ValueError: `keep` is outside [0, n].
    TypeError: `hidden` is not bool.

  >>> seen = drop(jnp.array([[1.], [2.], [3.]]), jnp.array([True, False, False]), keep=2)
  >>> seen.values[:, 0].tolist(), seen.index.tolist()
  ([2.0, 3.0], [1, 2])
  """
  masks.check(hidden=hidden)
  hidden = hidden if allowed is None else hidden | ~allowed
  *batch, n = hidden.shape
  if not 0 <= keep <= n:
    raise ValueError(f"keep must lie in [0, {n}], got {keep}")
  visible_so_far = jnp.cumsum(~hidden, axis=-1, dtype=jnp.int32)
  slots = jnp.arange(keep, dtype=jnp.int32)
  # Slot k holds the position before which k visible ones were seen: compared, as a sort is slow.
  find = lambda row: jnp.searchsorted(row, slots, side="right")
  index = jax.vmap(find)(visible_so_far.reshape(math.prod(batch), n)).reshape(*batch, keep)
  valid = slots < jnp.sum(~hidden, axis=-1, keepdims=True, dtype=jnp.int32)
  index = jnp.where(valid, index, 0).astype(jnp.int32)
  if x.ndim == hidden.ndim:
    values = jnp.where(valid, jnp.take_along_axis(x, index, axis=-1), 0)
  else:
    values = jnp.where(valid[..., None], jnp.take_along_axis(x, index[..., None], axis=-2), 0)
  some = None if exact and allowed is None else valid
  return Seen(values, index, some, hidden)  # type: ignore[arg-type]


def restore(
  tokens: Num[Array, "*b k d"], hidden: Bool[Array, "*b n"], fill: Num[Array, "..."]
) -> Num[Array, "*b n d"]:
  """Puts packed tokens back where they stood, and `fill` wherever there is none; undoes `drop`.

  There is none where `hidden` is True, nor at visible positions beyond the k that were packed.
  Shapes: `fill` broadcasts against the result, for example a learned token of shape [d].

  Args:
    tokens: of the visible positions, packed in order.
    hidden: True where hidden.
    fill: what stands where no token does; broadcasts against the result.

  Returns:
    Tokens of all n positions.

  Raises:
    TypeError: `hidden` is not bool.

  >>> packed, hidden = jnp.array([[2.], [3.]]), jnp.array([True, False, False])
  >>> restore(packed, hidden, jnp.zeros(1))[:, 0].tolist()
  [0.0, 2.0, 3.0]
  """
  masks.check(hidden=hidden)
  slot = jnp.cumsum(~hidden, axis=-1, dtype=jnp.int32) - 1
  absent = hidden | (slot >= tokens.shape[-2])
  slot = jnp.where(absent, 0, slot)
  back = jnp.take_along_axis(tokens, slot[..., None], axis=-2)
  return jnp.where(absent[..., None], jnp.asarray(fill, tokens.dtype), back)
