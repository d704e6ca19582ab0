"""Several masks from one score; the views are the leading axis."""

import functools
import itertools
import operator
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import bind, masks
from maskjax.errors import BadInput
from maskjax.reduce import count
from maskjax.select.top import Count, count_of, top


def nested(
  scores: Float[Array, "*b n"],
  *,
  counts: Sequence[Count],
  allowed: Bool[Array, "*#b n"] | None = None,
) -> Bool[Array, "v *b n"]:
  """Hides the highest scores once for each count: every mask lies inside the next larger one.

  Args:
    scores: of all positions; high hides first.
    counts: how many to hide in each of the v views.
    allowed: positions that may be hidden; None: all.

  Returns:
    One mask a view, on the leading axis.

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

  Args:
    scores: of all positions; high hides first.
    counts: how many to hide in each of the v views, at most n in all.
    allowed: positions that may be hidden; None: all.

  Returns:
    One mask a view, on the leading axis.

  Raises:
    BadInput: counts that add up to more than n; see `count_of`.
    TypeError: scores that are not floating, or `allowed` not bool.

  >>> disjoint(jnp.array([3., 1., 2.]), counts=(1, 2)).astype(int).tolist()
  [[1, 0, 0], [0, 1, 1]]
  """
  counts = [count_of(scores.shape[-1], count=count) for count in counts]
  so_far = nested(scores, counts=list(itertools.accumulate(counts, operator.add)), allowed=allowed)
  return jnp.concatenate([so_far[:1], so_far[1:] & ~so_far[:-1]])


def complement(hidden: Bool[Array, "*b n"]) -> Bool[Array, "*b n"]:
  r"""Hides what a mask does not: $\lnot a$.

  Raises:
    TypeError: a mask that is not bool.

  >>> complement(jnp.array([True, False])).tolist()
  [False, True]
  """
  masks.check(hidden=hidden)
  return ~hidden


def union(a: Bool[Array, "*b n"], b: Bool[Array, "*b n"]) -> Bool[Array, "*b n"]:
  r"""Hides what either of two masks hides: $a \cup b$.

  Raises:
    TypeError: a mask that is not bool.

  >>> union(jnp.array([True, False, False]), jnp.array([False, False, True])).tolist()
  [True, False, True]
  """
  masks.check(a=a, b=b)
  return a | b


def again(
  scores: Float[Array, "*b n"],
  step: Any = 0,
  *,
  select: functools.partial[Bool[Array, "*b n"]],
  times: int,
  allowed: Bool[Array, "*b n"] | None = None,
  grid: tuple[int, ...] | None = None,
) -> Bool[Array, "v *b n"]:
  r"""Hides other positions each time, as many as the first time: $H_i \cap H_j = \emptyset$.

  The first view is what `select` hides of the allowed positions; each further one what it hides of
  those that are left, with the first one's number as its `count`. Of fewer it hides all.

  Args:
    scores: the same for all views.
    step: with which arguments of `select` may move.
    select: of one view; its own `ratio` is that of the first.
    times: v, the number of views.
    allowed: the positions that may be hidden; None: all.
    grid: told to a selection that names it.

  Returns:
    The views, on the leading axis.

  Raises:
    BadInput: no views, several by a selection without a `count`, or a `ratio` of which so many
      exceed all positions, so that the last views would hide fewer than is said.

  >>> half = functools.partial(top, ratio=0.5)
  >>> again(jnp.array([3., 1., 2., 0.]), select=half, times=2).astype(int).tolist()
  [[1, 0, 1, 0], [0, 1, 0, 1]]

  Source: Wettig et al. 2023, "Should You Mask 15% in Masked Language Modeling?", section 4: a
  prediction rate beyond the corruption rate.
  """
  if times < 1:
    raise BadInput(f"views are at least one in number, got times={times}")
  if times > 1 and "count" not in bind.needs(select):
    raise BadInput(f"to hide {times} times select.{select.func.__name__} needs a count")
  if isinstance(share := select.keywords.get("ratio"), float | int) and times * share > 1 + 1e-9:
    raise BadInput(
      f"{times} views that each hide {share:g} are more than all: lower ratio or times"
    )
  free = jnp.ones(scores.shape, jnp.bool_) if allowed is None else allowed

  def hidden(pick: functools.partial[Bool[Array, "*b n"]], left: Array) -> Bool[Array, "*b n"]:
    offers = {"allowed": left} if grid is None else {"allowed": left, "grid": grid}
    return left & bind.call(pick, offers, scores)

  pick = bind.at(select, step)
  views = [hidden(pick, free)]
  rest = {name: value for name, value in pick.keywords.items() if name != "ratio"}
  more = functools.partial(pick.func, **{**rest, "count": count(views[0], axis=-1)})
  while len(views) < times:
    views.append(hidden(more, free & ~functools.reduce(jnp.logical_or, views)))
  return jnp.stack(views)
