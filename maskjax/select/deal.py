"""Dealing positions out to units of equal size."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from maskjax.select.search import ordered
from maskjax.select.top import Count, Ratio, count_of


def deal(
  scores: Float[Array, "*b n"], *, count: Count | None = None, ratio: Ratio | None = None
) -> Int[Array, "*b n"]:
  r"""Units of equal size: of every m consecutive positions each goes to another one of m units.

  $u_i = |\{j : \lfloor j/m \rfloor = \lfloor i/m \rfloor,\ s_j > s_i\}|$: uniform random scores
  deal as cards are dealt, round after round, each round in a random order. Where m divides n all
  units are of n / m positions, else some have one more. Ties go to the lower index. Every two
  positions of an example are compared: n² of them, which the CPU holds in memory.

  Args:
    scores: of all positions.
    count: m, the number of units: an int, traced, or one per example.
    ratio: m as a share of n, rounded; give this or `count`.

  Returns:
    The unit of each position, in [0, m).

  Raises:
    BadInput: see `count_of`.

  Source: Haghighat et al. 2024 (ROPIM), section 3.1: the buckets of a count sketch.

  >>> deal(jnp.array([0.2, 0.9, 0.5, 0.1]), count=2).tolist()
  [1, 0, 0, 1]
  """
  n = scores.shape[-1]
  units = jnp.maximum(jnp.asarray(count_of(n, count=count, ratio=ratio)), 1)
  place, order = jnp.arange(n), ordered(scores)
  turn = place // units[..., None]
  higher = order[..., None, :] > order[..., :, None]
  level = order[..., None, :] == order[..., :, None]
  first = higher | (level & (place < place[:, None]))
  together = turn[..., None, :] == turn[..., :, None]
  return jnp.sum(first & together, axis=-1, dtype=jnp.int32)
