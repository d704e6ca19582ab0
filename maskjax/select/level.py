"""The level that so many entries reach: a search by counting, led by what was counted."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

# How many entries of each leaf reach each of several levels, which lie along a new first axis.
Number = Callable[[UInt32[Array, "t"]], Int[Array, "t leaf"]]
HIGHEST = 0xFFFFFFFF  # no score comes so high
LINEAR = 1 << 22  # of fewer levels, half an octave of floats, each holds about as many entries


class Bracket(NamedTuple):
  """The level is `low`, or lies between; with how many entries of each leaf reach the two."""

  low: UInt32[Array, ""]
  high: UInt32[Array, ""]
  reach_low: Int[Array, "leaf"]
  reach_high: Int[Array, "leaf"]


def whole(sizes: Int[Array, "leaf"]) -> Bracket:
  """The bracket of all levels, of leaves of given sizes."""
  return Bracket(jnp.uint32(0), jnp.uint32(HIGHEST), sizes, jnp.zeros_like(sizes))


def quarters(low: UInt32[Array, ""], high: UInt32[Array, ""]) -> UInt32[Array, "t"]:
  """Three levels that part a bracket in four."""
  return low + ((high - low) >> 2) * jnp.arange(1, 4, dtype=jnp.uint32)


def around(number: Number, every: Bracket, k: Float[Array, ""]) -> UInt32[Array, "3"]:
  """Levels around the one that `k` entries reach, where these are a sample of others: low to high.

  As far apart as samples scatter: the level of all lies outside once in ten thousand times.
  """
  off = 4 * jnp.sqrt(k) + 4
  ranks = jnp.maximum(jnp.stack([k + off, k - off]), 0).astype(every.reach_low.dtype)
  found = jax.lax.map(lambda k: search(number, every, k, quarters(every.low, every.high)), ranks)
  low, high = found.low[0], found.high[1]
  return jnp.stack([low, low + (high - low) // 2, high])


def search(number: Number, whole: Bracket, k: Int[Array, ""], first: UInt32[Array, "t"]) -> Bracket:
  """Where `k` entries, or as few more as can be, reach `low`, and fewer than `k` reach `high`.

  Starts from the `whole` bracket and counts at the levels `first`; `low` stays where it is if fewer
  than `k` reach it. Levels lie close together, or exactly `k` entries reach `low`. Three levels are
  counted a pass. While the bracket is wide they part it in four; then one parts it in the middle,
  and two lie around the place that interpolation gives, as far off as so many entries scatter.
  """
  begin = narrow(number, whole, k, first)
  open_ = lambda at: (at.high - at.low > 1) & (jnp.sum(at.reach_low) > k)
  return jax.lax.while_loop(open_, lambda at: narrow(number, at, k, _levels(at, k)), begin)


def narrow(number: Number, at: Bracket, k: Int[Array, ""], levels: Array) -> Bracket:
  """The narrowest bracket that counting at some more `levels` gives, which come in order."""
  levels = jnp.clip(levels, at.low + 1, at.high - 1)
  counts = jnp.concatenate([at.reach_low[None], number(levels), at.reach_high[None]])
  levels = jnp.concatenate([at.low[None], levels, at.high[None]])
  low = jnp.sum(jnp.sum(counts[1:-1], axis=1) >= k)
  return Bracket(levels[low], levels[low + 1], counts[low], counts[low + 1])


def _levels(at: Bracket, k: Int[Array, ""]) -> UInt32[Array, "3"]:
  width, above = at.high - at.low, jnp.sum(at.reach_high)
  inside = (jnp.sum(at.reach_low) - above).astype(jnp.float32)
  share = 1 - (k - above).astype(jnp.float32) / inside
  # Three deviations of the number that lies below a place, among so many thrown in at random.
  off = 1.5 / jnp.sqrt(inside)
  near = jnp.sort(jnp.clip(jnp.stack([share - off, jnp.float32(0.5), share + off]), 0, 1))
  led = at.low + (near * width.astype(jnp.float32)).astype(jnp.uint32)
  return jnp.where(width > LINEAR, quarters(at.low, at.high), led)
