"""Several masks from one score; the views are the leading axis."""

import itertools
import operator
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax.select.top import Count, count_of, top


def nested(
  scores: Float[Array, "*b n"],
  *,
  counts: Sequence[Count],
  allowed: Bool[Array, "*#b n"] | None = None,
) -> Bool[Array, "v *b n"]:
  """Hides the highest scores once for each count: every mask lies inside the next larger one.

  Raises:
    BadInput: see `count_of`.
    TypeError: scores that are not floating, or `allowed` not bool.

  >>> nested(jnp.array([3., 1., 2.]), counts=(2, 1)).astype(int).tolist()
  [[1, 0, 1], [1, 0, 0]]
  """
  hidden = [top(scores, count=count, allowed=allowed) for count in counts]
  return jnp.stack(hidden) if hidden else jnp.zeros((0, *scores.shape), jnp.bool_)


def disjoint(
  scores: Float[Array, "*b n"],
  *,
  counts: Sequence[Count],
  allowed: Bool[Array, "*#b n"] | None = None,
) -> Bool[Array, "v *b n"]:
  """Hides other positions in every view: the highest scores in the first, the next in the second.

  With counts that add up to n, the views are complementary: every position is hidden in one. Where
  fewer are allowed, the last views hide fewer.

  Raises:
    BadInput: counts that add up to more than n; see `count_of`.
    TypeError: scores that are not floating, or `allowed` not bool.

  >>> disjoint(jnp.array([3., 1., 2.]), counts=(1, 2)).astype(int).tolist()
  [[1, 0, 0], [0, 1, 1]]
  """
  counts = [count_of(scores.shape[-1], count=count) for count in counts]
  so_far = nested(scores, counts=list(itertools.accumulate(counts, operator.add)), allowed=allowed)
  return jnp.concatenate([so_far[:1], so_far[1:] & ~so_far[:-1]])
