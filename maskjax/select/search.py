"""The highest entries of arrays, exactly so many: by counting passes, without a sort."""

import functools
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt, UInt32

from maskjax.select import level

Leaves = Sequence[Array]
# Which entries reach the levels: of some x, those of them that compete, and how early they come.
Reach = Callable[[Array, Array, Array, Array], Bool[Array, "*t"]]
MANY = 1 << 20  # of more entries a sample is asked first
STEP = 61  # one in so many, which columns of a matrix are hardly a multiple of
PART = 1 << 12  # entries that a CPU meets at once, so that they and their counts stay near


def ordered(scores: Float[Array, "*b"]) -> UInt32[Array, "*b"]:
  """Unsigned integers in the order of the scores: zeros tie, NaN comes lowest.

  By their bits alone: a comparison of floats takes subnormal ones for zero on some machines.
  """
  bits = jax.lax.bitcast_convert_type(scores.astype(jnp.float32), jnp.uint32)
  sign, infinity = jnp.uint32(1 << 31), jnp.uint32(0xFF << 23)
  magnitude = bits & ~sign
  order = jnp.where(bits > sign, ~bits, bits | sign)
  return jnp.where(magnitude > infinity, jnp.uint32(0), order)


def best(
  leaves: Leaves, among: Leaves, room: Int[Array, "..."], axis: int | None
) -> list[Bool[Array, "..."]]:
  """The `room` highest of the entries `among` those that compete: in each row, or in all leaves.

  All above a level, and the first of those at it: leaf after leaf, and within one by the index.
  `room` is `[*b, 1]` for rows, else `[]`.
  """
  return _best(jax.lax.stop_gradient(list(leaves)), list(among), room, axis)


# Traced once for all scores of a shape: a search is some hundred operations, and a run has many.
@functools.partial(jax.jit, static_argnums=3)
def _best(leaves: Leaves, among: Leaves, room: Array, axis: int | None) -> list[Array]:
  # Rows are ordered once; what is large is ordered in passing, which takes no memory.
  order = ordered if axis is None else lambda x: x
  leaves = [x if axis is None else ordered(x) for x in leaves]
  pairs = list(zip(leaves, among, strict=True))
  low, high, reached, above = (_of_rows if axis is not None else _of_all)(pairs, room)

  ties = list(map(operator.sub, reached, above))
  left = functools.reduce(operator.sub, above, room)
  rooms = list(itertools.accumulate(ties[:-1], operator.sub, initial=left))
  tie = lambda x, a: a & (order(x) >= low) & (order(x) < high)
  divided = _divided(ties, rooms, axis)
  cut = lambda x, a, k: _cut(tie, x, a, k, axis, divided)
  cut = jax.jit(cut) if axis is None else cut  # traced once for all leaves of a shape
  cuts = [cut(x, a, k) for (x, a), k in zip(pairs, rooms, strict=True)]
  return [
    (a & (order(x) >= high)) | (tie(x, a) & (k > 0) & (_early(x, axis, last.dtype) >= last))
    for (x, a), k, last in zip(pairs, rooms, cuts, strict=True)
  ]


def _of_rows(
  pairs: Sequence[tuple[Array, Array]], room: Int[Array, "*b 1"]
) -> tuple[Array, Array, Leaves, Leaves]:
  """The level of each row, what follows it, and how many reach the two."""
  [(x, among)] = pairs
  high = lambda levels, x, a, _: a & (x >= levels)
  number = lambda levels: _number(high, levels, x, among, -1, room.dtype)
  low = _highest(number, room, bits=32, dtype=jnp.uint32, digit=_digit(-1))
  low = jnp.minimum(low, jnp.uint32(level.HIGHEST - 1))
  reached, above = number(jnp.stack([low, low + 1]))
  return low, low + 1, [reached], [above]


def _of_all(
  pairs: Sequence[tuple[Array, Array]], room: Int[Array, ""]
) -> tuple[Array, Array, Leaves, Leaves]:
  """Two levels between which the last of the `room` highest lies, and how many reach the two."""
  number, every = _counted(pairs, room.dtype)
  levels = level.quarters(every.low, every.high)
  if sum(x.size for x, _ in pairs) >= MANY and jax.device_count() == 1:
    part = lambda x: x.reshape(-1)[::STEP] if x.size > 1 else x
    few = [(part(x), part(a)) for x, a in pairs]
    levels = level.around(*_counted(few, room.dtype), room.astype(jnp.float32) / STEP)
  found = level.search(number, every, room, levels)
  return found.low, found.high, [*found.reach_low], [*found.reach_high]


def _counted(
  pairs: Sequence[tuple[Array, Array]], dtype: Any
) -> tuple[level.Number, level.Bracket]:
  """How many of each leaf reach given levels, and the bracket of all levels."""
  high = lambda levels, x, a, _: a & (ordered(x) >= levels)
  # Traced once for all leaves of a shape: a tree has hundreds, of a dozen shapes.
  one = jax.jit(lambda levels, x, a: _number(high, levels, x, a, None, dtype))
  number = lambda levels: jnp.stack([one(levels, x, a) for x, a in pairs], 1)
  sizes = [jnp.sum(jnp.broadcast_to(a, x.shape), dtype=dtype) for x, a in pairs]
  return number, level.whole(jnp.stack(sizes))


def _digit(axis: int | None) -> int:
  """Bits that a pass settles: over much memory it counts for three levels at once, else for one."""
  return 2 if axis is None else 1


def _divided(ties: Leaves, rooms: Leaves, axis: int | None) -> Bool[Array, ""] | bool:
  """Whether there is room for some of those that tie, but not for all.

  Taken for so where the rows lie on several devices, which would have to be asked.
  """
  if axis is not None and jax.device_count() > 1:
    return True
  some = [jnp.any((k > 0) & (n > k)) for n, k in zip(ties, rooms, strict=True)]
  return functools.reduce(operator.or_, some)


def _cut(
  tie: Callable[[Array, Array], Array],
  x: Array,
  among: Array,
  k: Int[Array, "..."],
  axis: int | None,
  divided: Bool[Array, ""] | bool,
) -> UInt[Array, "..."]:
  """How early the last of the first `k` comes of those that tie; at most that, if none is cut."""
  late = lambda cut, x, a, early: tie(x, a) & (early >= cut)
  dtype = _unsigned(k.dtype)
  bits = (x.size if axis is None else x.shape[axis]).bit_length()
  number = lambda x, a: lambda cut: _number(late, cut, x, a, axis, k.dtype)
  search = lambda x, a, k: _highest(
    number(x, a), k, bits=bits, dtype=dtype, digit=_digit(axis), needed=divided
  )
  if axis is not None or not _has_parts(x):
    return search(x, among, k)
  in_parts = lambda x, a, k: _cut_in_parts(lambda x, a, _: tie(x, a), x, a, k)
  return jax.lax.platform_dependent(x, among, k, cpu=in_parts, default=search)


def _highest(
  number: Callable[[Array], Array],
  k: Int[Array, "..."],
  *,
  bits: int,
  dtype: Any,
  digit: int,
  needed: Bool[Array, ""] | bool = True,
) -> UInt[Array, "..."]:
  """The highest levels, below 2^bits, that at least `k` entries reach; 0 where there are fewer.

  `number` counts them for several levels, along a new first axis. A pass settles as many bits as a
  `digit` has. Where it is not `needed`, the result is 0 as well.
  """
  steps = -(-bits // digit)
  digits = jnp.arange(1, 1 << digit, dtype=dtype).reshape(-1, *[1] * k.ndim)

  def refine(i: int | Array, level: Array) -> Array:
    shift = (steps - 1 - jnp.asarray(i, dtype)) * jnp.asarray(digit, dtype)
    counts = number(level + (digits << shift))
    return level + (jnp.sum(counts >= k, axis=0, dtype=dtype) << shift)

  # Made from what it is compared with, so that it varies over the same mesh axes under shard_map.
  lowest = jnp.zeros_like(number(jnp.zeros((1,) * (k.ndim + 1), dtype))[0] + k, dtype)
  end = steps if needed is True else jnp.where(needed, steps, 0)
  return jax.lax.fori_loop(0, end, refine, lowest)


def _number(
  reach: Reach, levels: Array, x: Array, among: Array, axis: int | None, dtype: Any
) -> Int[Array, "t ..."]:
  """How many reach each of the levels: in each row `[t, *b, 1]`, or in the whole array `[t]`."""
  early = _early(x, axis, _unsigned(dtype))
  if axis is not None:
    # Short rows are counted in bytes, of which a CPU adds more at once.
    short = jnp.uint8 if x.shape[axis] <= 255 else dtype
    reached = reach(levels, x, among, early)
    return jnp.sum(reached, axis=axis, keepdims=True, dtype=short).astype(dtype)
  inner = lambda reached: tuple(range(1, reached.ndim))
  total = lambda reached: jnp.sum(reached, axis=inner(reached), dtype=dtype)
  whole = lambda x, a: total(reach(levels.reshape(-1, *[1] * x.ndim), x, a, early))
  if not _has_parts(x):
    return whole(x, among)
  in_parts = lambda x, a: total(
    _sum_of_parts(lambda *entry: reach(levels.reshape(-1, 1), *entry), x, a, dtype)
  )
  return jax.lax.platform_dependent(x, among, cpu=in_parts, default=whole)


def _has_parts(x: Array) -> bool:
  """Whether a CPU meets them in parts: several devices would each go through the parts of all."""
  return x.size >= PART and jax.device_count() == 1


def _part(
  see: Callable[..., Array], x: Array, among: Array, start: Any, size: int, dtype: Any
) -> Array:
  """What `see` says of some entries in a row."""
  cut = lambda x: jax.lax.dynamic_slice_in_dim(x.reshape(-1), start, size)
  early = jnp.asarray(x.size - start, dtype) - jnp.arange(size, dtype=dtype)
  return see(cut(x), cut(among) if among.ndim else among, early)


def _sum_of_parts(
  see: Callable[..., Array], x: Array, among: Array, dtype: Any
) -> Int[Array, "t part"]:
  """How many are seen at each place of a part.

  XLA for CPUs is fast at adding vectors, and slow at adding up the entries of one, which it writes
  out as integers first.
  """
  part = lambda start, size: _part(see, x, among, start, size, _unsigned(dtype))
  add = lambda i, sums: sums + part(i * PART, PART)
  sums = jax.lax.fori_loop(1, x.size // PART, add, part(0, PART).astype(dtype))
  rest = x.size % PART
  return sums.at[:, :rest].add(part(x.size - rest, rest)) if rest else sums


def _cut_in_parts(
  see: Callable[..., Array], x: Array, among: Array, k: Int[Array, ""]
) -> UInt[Array, ""]:
  """How early the last of the first `k` comes of those that are seen, in a single pass."""
  n, dtype = x.size, _unsigned(k.dtype)
  begin = lambda i: jnp.minimum(i * PART, n - PART)

  def part(i: Array) -> Array:
    own = lambda x, a, early: see(x, a, early) & (early <= jnp.asarray(n - i * PART, dtype))
    return _part(own, x, among, begin(i), PART, dtype)

  counts = jax.lax.map(lambda i: jnp.sum(part(i), dtype=k.dtype), jnp.arange(-(-n // PART)))
  upto = jnp.cumsum(counts)
  i = jnp.minimum(jnp.sum(upto < k), len(counts) - 1)
  place = jnp.sum(jnp.cumsum(part(i)) < k - (upto[i] - counts[i]))
  return jnp.asarray(n - begin(i) - place, dtype)


def _early(x: Array, axis: int | None, dtype: Any) -> UInt[Array, "..."]:
  """Falls by one from entry to entry of an array or a row, in row-major order, to 1 at the last."""
  shape = x.shape if axis is None else x.shape[axis:]
  early = jnp.full(shape, math.prod(shape), dtype)
  for i in range(len(shape)):
    stride = jnp.asarray(math.prod(shape[i + 1 :]), dtype)
    early -= stride * jax.lax.broadcasted_iota(dtype, shape, i)
  return early


def _unsigned(dtype: Any) -> Any:
  """The unsigned integers as wide as these."""
  return jnp.uint32 if dtype == jnp.int32 else jnp.uint64
