"""Selecting the highest scores: an exact number of them, or all above a threshold."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from maskjax import masks
from maskjax.errors import BadInput

Count = int | Int[Array, "..."]
Ratio = float | Float[Array, "..."]


def count_of(n: int | Int[Array, "..."], *, count: Any = None, ratio: Any = None) -> Any:
  """How many of `n` allowed positions are to be hidden, from a `count` or a `ratio`, not both.

  A ratio means `round(ratio * n)`, halves to even, in float64 at any size. Numbers give a Python
  int, so that shapes can follow from it; arrays, traced or not, give int32 and are not checked.

  Raises:
    BadInput: neither or both given, a ratio outside [0, 1], a count outside [0, n], or no number.

  >>> count_of(196, ratio=0.75)
  147
  """
  if (count is None) == (ratio is None):
    raise BadInput(f"give a count or a ratio of positions to hide, got {count=} and {ratio=}")
  if ratio is not None:
    return _share(n, ratio)
  if isinstance(count, jax.Array | np.ndarray):
    if not jnp.issubdtype(count.dtype, jnp.integer):
      raise BadInput(f"the count of hidden positions must be integers, got {count.dtype}")
    return jnp.asarray(count, jnp.int32)
  if not isinstance(count, numbers.Integral):
    raise BadInput(f"the count of hidden positions must be an integer, got {count!r}")
  count = int(count)
  if count < 0 or (isinstance(n, int) and count > n):
    raise BadInput(f"the count of hidden positions must lie in [0, {n}], got {count}")
  return count


def top(
  scores: Float[Array, "*b n"],
  *,
  count: Count | None = None,
  ratio: Ratio | None = None,
  allowed: Bool[Array, "*#b n"] | None = None,
) -> Bool[Array, "*b n"]:
  """Hides the highest-scoring allowed positions of the last axis, exactly `count` of them.

  `count` is an int, traced, or one per example; `ratio` means a rounded share of the allowed
  positions. Scores are compared as float32, subnormal numbers included. Ties go to the lower index,
  -0.0 ties with 0.0, NaN hides last. Where fewer are allowed, all allowed are hidden.

  The threshold is found by a binary search over the bits of the scores, the cut among those that
  tie by one over the index: counting passes, no sort, no gather, and along a sharded axis nothing
  but scalars to exchange.

  Raises:
    BadInput: see `count_of`.
    TypeError: scores that are not floating, or `allowed` not bool.

  >>> top(jnp.array([3., 1., 2., 2.]), count=2).tolist()
  [True, False, True, False]
  """
  if not jnp.issubdtype(scores.dtype, jnp.floating):
    raise TypeError(f"scores are floating, got an array of {scores.dtype}")
  n = scores.shape[-1]
  candidates: Any = n
  if allowed is None:
    allowed = jnp.ones((), jnp.bool_)
  else:
    masks.check(allowed=allowed)
    allowed = jnp.broadcast_to(allowed, scores.shape)
    if ratio is not None:
      candidates = jnp.sum(allowed, axis=-1, dtype=jnp.int32)
  count = jnp.asarray(count_of(candidates, count=count, ratio=ratio), jnp.int32)
  count = jnp.broadcast_to(count, scores.shape[:-1])[..., None]
  order = _ordered(scores)
  level = _kth_largest(order, allowed, count, bits=32)
  above = allowed & (order > level)
  tied = allowed & (order == level)
  room = count - jnp.sum(above, axis=-1, keepdims=True, dtype=jnp.int32)
  early = jnp.arange(n, 0, -1, dtype=jnp.uint32)
  return above | (tied & (early >= _kth_largest(early, tied, room, bits=n.bit_length())))


def threshold(
  scores: Float[Array, "*b n"],
  *,
  above: float | Float[Array, "..."],
  allowed: Bool[Array, "*#b n"] | None = None,
) -> Bool[Array, "*b n"]:
  """Hides every allowed position whose score is greater than `above`; NaN is not hidden.

  `above` is a number or one per example. Of white noise, `above=1 - p` hides each position
  independently with probability p (Bernoulli).

  Raises:
    TypeError: `allowed` is not bool.

  >>> threshold(jnp.array([0.1, 0.9, 0.5]), above=0.5).tolist()
  [False, True, False]
  """
  hidden = scores > jnp.broadcast_to(jnp.asarray(above), scores.shape[:-1])[..., None]
  if allowed is None:
    return hidden
  masks.check(allowed=allowed)
  return hidden & allowed


def _share(n: int | Int[Array, "..."], ratio: Any) -> Any:
  """`round(ratio * n)`, see `count_of`."""
  traced = isinstance(ratio, jax.Array | np.ndarray)
  if not traced:
    if not isinstance(ratio, numbers.Real):
      raise BadInput(f"the ratio of hidden positions must be a number, got {ratio!r}")
    ratio = float(ratio)
    if not 0 <= ratio <= 1:
      raise BadInput(f"the ratio of hidden positions must lie in [0, 1], got {ratio}")
    if isinstance(n, int):
      return round(ratio * n)
  # Above 2²⁴ float32 skips integers. A ratio that is itself float32 keeps float32's rounding while
  # that resolves halves, or 0.1 of 5 would not be the half that it is meant to be.
  narrow = jnp.asarray(ratio, jnp.float32) * n
  with jax.enable_x64(True):
    product = jnp.asarray(ratio, jnp.float64) * jnp.asarray(n, jnp.float64)
    if traced:
      product = jnp.where(product < 2**22, narrow.astype(jnp.float64), product)
    return jnp.round(product).astype(jnp.int32)


def _ordered(scores: Float[Array, "*b n"]) -> UInt32[Array, "*b n"]:
  """Unsigned integers in the order of the scores: zeros tie, NaN comes lowest.

  By their bits alone: a comparison of floats takes subnormal ones for zero on some machines.
  """
  bits = jax.lax.bitcast_convert_type(scores.astype(jnp.float32), jnp.uint32)
  sign, infinity = jnp.uint32(1 << 31), jnp.uint32(0xFF << 23)
  magnitude = bits & ~sign
  order = jnp.where(bits > sign, ~bits, bits | sign)
  return jnp.where(magnitude > infinity, jnp.uint32(0), order)


def _kth_largest(
  order: UInt32[Array, "..."], among: Bool[Array, "..."], k: Int[Array, "*b 1"], *, bits: int
) -> UInt32[Array, "*b 1"]:
  """The largest level, below 2^bits, that at least `k` entries reach; 0 where there are fewer."""
  reach = lambda level: jnp.sum(among & (order >= level), axis=-1, keepdims=True, dtype=jnp.int32)

  def refine(i, level):
    raised = level | (jnp.uint32(1 << (bits - 1)) >> jnp.asarray(i, jnp.uint32))
    return jnp.where(reach(raised) >= k, raised, level)

  if bits == 0:
    return jnp.zeros(k.shape, jnp.uint32)
  # Made from what it is compared with, so that it varies over the same mesh axes under shard_map.
  lowest = jnp.zeros_like(reach(jnp.uint32(0)) + k, jnp.uint32)
  return jax.lax.fori_loop(0, bits, refine, lowest)
