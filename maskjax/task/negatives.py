"""Negative sampling on graphs: pairs of nodes that no edge joins."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key


def sample_negatives(
  keys: Key[Array, "b"],
  edges: Int[Array, "b m 2"],
  size: Int[Array, "b"],
  *,
  pairs: int,
  tries: int = 4,
) -> tuple[Int[Array, "b pairs 2"], Bool[Array, "b pairs"]]:
  """Negative samples: uniform pairs of different nodes that no edge joins, and which were found.

  Each is the first of `tries` uniform pairs of the first `size` nodes that will do; where none
  does, in graphs that are nearly complete, it is not found.

  Args:
    keys: one for each graph.
    edges: (from, to) in both directions, sorted by where they lead to, then by where from, as
      `maskjax.data.graph` gives them.
    size: how many nodes each graph has.
    pairs: how many are drawn.
    tries: how often for each.

  >>> line = jnp.array([[[1, 0], [0, 1], [2, 1], [1, 2]]])
  >>> keys = jax.random.split(jax.random.key(0), 1)
  >>> found, there = sample_negatives(keys, line, jnp.array([3]), pairs=9)
  >>> sorted({tuple(pair) for pair in found[there].tolist()})
  [(0, 2), (2, 0)]
  """

  def draw(key, edges, size):  # type: ignore[no-untyped-def]
    shape = (tries, pairs, 2)
    tried = jax.random.randint(key, shape, 0, jnp.maximum(size, 1), jnp.int32)
    good = (tried[..., 0] != tried[..., 1]) & ~joined(edges, tried)
    first = jnp.argmax(good, axis=0)
    return jnp.take_along_axis(tried, first[None, :, None], axis=0)[0], jnp.any(good, axis=0)

  return jax.vmap(draw)(keys, edges, size)


def joined(edges: Int[Array, "m 2"], pairs: Int[Array, "*b 2"]) -> Bool[Array, "*b"]:
  """Which (from, to) are among the sorted edges, by halving the interval that would hold each."""
  m = len(edges)
  origin, end = pairs[..., 0], pairs[..., 1]
  low, high = jnp.zeros_like(origin), jnp.full_like(origin, m)
  for _ in range(m.bit_length()):
    middle = (low + high) // 2
    at = edges[jnp.minimum(middle, m - 1)]
    before = (at[..., 1] < end) | ((at[..., 1] == end) & (at[..., 0] < origin))
    before &= middle < high
    low, high = jnp.where(before, middle + 1, low), jnp.where(before, high, middle)
  found = edges[jnp.minimum(low, m - 1)]
  return (low < m) & (found[..., 0] == origin) & (found[..., 1] == end)
