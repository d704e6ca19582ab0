"""The highest entries of each of many arrays, exactly so many of each, by one search for all."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from maskjax.select.search import ordered

Levels = list[UInt32[Array, "..."]]


def each(
  scores: Sequence[Float[Array, "..."]],
  among: Sequence[Bool[Array, "..."]],
  rooms: Sequence[Int[Array, "..."]],
  axis: int | None,
) -> list[Bool[Array, "..."]]:
  """Of each array the highest entries `among` those that compete; ties go to the lower index.

  Two loops serve all arrays, over the bits of scores and over those of indices: what is compiled
  grows little with their number, and of a sharded array only counts are exchanged.

  Args:
    scores: the arrays; NaN is lowest, -0.0 ties with 0.0.
    among: which of their entries compete.
    rooms: how many of each are taken, int32, with the axes over which they are counted kept as 1.
    axis: -1: of each row; None: of all entries of an array together.

  Returns:
    The masks of what is taken; all that compete where these are fewer.

  >>> x, room = jnp.array([3., 1., 2., 2.]), jnp.full((1,), 2)
  >>> each([x], [x > 0], [room], None)[0].tolist()
  [True, False, True, False]
  """
  keys, low = [ordered(x) for x in scores], levels(scores, among, rooms, axis)
  above = [a & (k > at) for a, k, at in zip(among, keys, low, strict=True)]
  ties = [a & (k == at) for a, k, at in zip(among, keys, low, strict=True)]
  left = [r - counted(x, axis) for r, x in zip(rooms, above, strict=True)]
  places = [_places(x, axis) for x in ties]
  last = max((p.size for p in places), default=0).bit_length()

  # The largest index before which there are not more ties than are left.
  def further(i: Int[Array, ""], cuts: Levels) -> Levels:
    tried = [c | (jnp.uint32(1) << (last - 1 - i)) for c in cuts]
    parts = zip(ties, places, tried, left, cuts, strict=True)
    return [jnp.where(counted(t & (p < c), axis) <= k, c, b) for t, p, c, k, b in parts]

  cuts = jax.lax.fori_loop(0, last, further, [x & jnp.uint32(0) for x in low])
  parts = zip(above, ties, places, cuts, strict=True)
  return [x | (t & (p < c)) for x, t, p, c in parts]


def levels(
  scores: Sequence[Float[Array, "..."]],
  among: Sequence[Bool[Array, "..."]],
  rooms: Sequence[Int[Array, "..."]],
  axis: int | None,
) -> Levels:
  """Of each array the highest level, as `ordered` has it, that its `rooms` entries reach."""
  keys = [ordered(x) for x in scores]

  def higher(i: Int[Array, ""], low: Levels) -> Levels:
    tried = [x | (jnp.uint32(1) << (31 - i)) for x in low]
    parts = zip(keys, among, tried, rooms, low, strict=True)
    return [jnp.where(counted(a & (k >= t), axis) >= r, t, x) for k, a, t, r, x in parts]

  # Zeros that vary over the devices of a shard_map as what they are compared with.
  zero = lambda k, a, r: (0 * (counted(a & (k > 0), axis) + r)).astype(jnp.uint32)
  start = [zero(*part) for part in zip(keys, among, rooms, strict=True)]
  return jax.lax.fori_loop(0, 32, higher, start)


def counted(where: Bool[Array, "..."], axis: int | None) -> Int[Array, "..."]:
  """How many are true of each row or of all, the axes kept as 1."""
  return jnp.sum(where, axis=axis, dtype=jnp.int32, keepdims=True)


def _places(like: Array, axis: int | None) -> UInt32[Array, "..."]:
  """The index of each entry: in its row, or row-major in the array."""
  if axis is None:
    return jnp.arange(like.size, dtype=jnp.uint32).reshape(like.shape)
  return jnp.arange(like.shape[-1], dtype=jnp.uint32)
