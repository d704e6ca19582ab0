"""Selecting by groups: of every M positions, of every cell or section; whole units only."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from maskjax import masks, units
from maskjax.errors import BadInput
from maskjax.select.search import ordered
from maskjax.select.top import Count, Ratio, top


def n_of_m(
  scores: Float[Array, "..."],
  *,
  keep: int,
  of: int,
  axis: int = -1,
  allowed: Bool[Array, "..."] | None = None,
) -> Bool[Array, "..."]:
  """Keeps `keep` of every `of` consecutive positions along `axis`: hides the highest of each group.

  Compares and breaks ties as `top` does. Not allowed ones are kept, also beyond `keep`. Every
  position is compared with the others of its group: `of` passes, no sort, no gather, and nothing
  to exchange where devices hold whole groups.

  Args:
    scores: of all positions; high hides first.
    keep: positions of each group that stay visible.
    of: positions of a group; divides the axis.
    axis: along which groups lie.
    allowed: positions that may be hidden; None: all.

  Returns:
    True where hidden.

  Raises:
    BadInput: `of` does not divide the axis, or `keep` is outside [0, of].
    TypeError: scores that are not floating, or `allowed` not bool.

  Source: Zhou et al. 2021, "Learning N:M Fine-grained Structured Sparse Neural Networks From
  Scratch", section 3.

  >>> n_of_m(jnp.array([3., 1., 2., 2., 5., 5., 5., 5.]), keep=2, of=4).astype(int).tolist()
  [1, 0, 1, 0, 1, 1, 0, 0]
  """
  if not -scores.ndim <= axis < scores.ndim:
    raise BadInput(f"scores of shape {scores.shape} have no axis {axis}")
  axis %= scores.ndim
  _divide(scores.shape[axis], of, f"axis {axis} of scores {scores.shape}")
  if not 0 <= keep <= of:
    raise BadInput(f"of every {of} positions 0 to {of} can be kept, got {keep=}")
  if not jnp.issubdtype(scores.dtype, jnp.floating):
    raise TypeError(f"scores are floating, got an array of {scores.dtype}")
  groups = scores.shape[axis] // of
  shape = (*scores.shape[:axis], groups, of, *scores.shape[axis + 1 :])
  order = ordered(scores).reshape(shape)
  candidates = _everywhere(scores, allowed).reshape(shape)
  place = jax.lax.broadcasted_iota(jnp.int32, shape, axis + 1)
  before = jnp.zeros_like(order, jnp.int32)
  for i in range(of):
    rival, counts = (jax.lax.slice_in_dim(x, i, i + 1, axis=axis + 1) for x in (order, candidates))
    before += counts & ((rival > order) | ((rival == order) & (i < place)))
  return (candidates & (before < of - keep)).reshape(scores.shape)


def per_block(
  scores: Float[Array, "*b n"],
  *,
  grid: tuple[int, ...],
  size: Sequence[int | None],
  count: Count | None = None,
  ratio: Ratio | None = None,
  allowed: Bool[Array, "*#b n"] | None = None,
) -> Bool[Array, "*b n"]:
  """Hides the highest-scoring allowed positions of every cell of the grid, `count` of each.

  A None side in `size` is the whole axis. `count` and `ratio` are those of `top`, of a single cell:
  a number or one per example.

  Args:
    scores: of all positions of the grid, in row-major order; high hides first.
    grid: positions along each axis.
    size: positions of a cell along each axis, which it divides; None: the whole axis.
    count: how many to hide in each cell: an int, traced, or one per example.
    ratio: hidden share of each cell's allowed positions, in [0, 1]; give this or `count`.
    allowed: positions that may be hidden; None: all.

  Returns:
    True where hidden.

  Raises:
    BadInput: a side that does not divide its axis, scores of another length than the grid's; see
      `count_of`.
    TypeError: scores that are not floating, or `allowed` not bool.

  Sources: He et al. 2022 (MAE), section 4.1, grid-wise sampling; Li et al. 2022 (UM-MAE), uniform
  sampling.

  >>> per_block(jnp.arange(8.), grid=(2, 4), size=(2, 2), count=1).astype(int).tolist()
  [0, 0, 0, 0, 0, 1, 0, 1]
  """
  sides = units.sides(grid, size)
  for axis, (g, side) in enumerate(zip(grid, sides, strict=True)):
    _divide(g, side, f"axis {axis} of grid {tuple(grid)}")
  if scores.shape[-1] != math.prod(grid):
    raise BadInput(f"{scores.shape[-1]} scores do not fill a grid of {tuple(grid)}")
  b, k = scores.ndim - 1, len(grid)
  split = [x for g, side in zip(grid, sides, strict=True) for x in (g // side, side)]
  axes = [*range(b), *range(b, b + 2 * k, 2), *range(b + 1, b + 2 * k, 2)]
  apart = [*scores.shape[:-1], *split[::2], *split[1::2]]

  def cells(x):
    x = x.reshape(*x.shape[:-1], *split).transpose(axes)
    return x.reshape(*x.shape[:b], math.prod(split[::2]), math.prod(sides))

  if allowed is not None:
    allowed = cells(_everywhere(scores, allowed))
  hidden = top(cells(scores), count=_of_cells(count), ratio=_of_cells(ratio), allowed=allowed)
  return hidden.reshape(apart).transpose(np.argsort(axes)).reshape(scores.shape)


def per_section(
  scores: Float[Array, "*b n"],
  *,
  sizes: Sequence[int],
  counts: Sequence[Count] | Int[Array, "*#b g"] | Int[np.ndarray, "*#b g"],
  allowed: Bool[Array, "*#b n"] | None = None,
) -> Bool[Array, "*b n"]:
  """Hides the `counts[i]` highest-scoring allowed positions of section i: modalities, channels.

  Sections of the given `sizes` follow each other. `counts` are one a section, each an int, traced,
  or one per example; or an array that may be traced.

  Args:
    scores: of all positions; high hides first.
    sizes: positions of each section, n in all.
    counts: how many to hide in each section.
    allowed: positions that may be hidden; None: all.

  Returns:
    True where hidden.

  Raises:
    BadInput: sizes that do not add up to n, another number of counts; see `count_of`.
    TypeError: scores that are not floating, or `allowed` not bool.

  Source: Bachmann et al. 2022 (MultiMAE), section 3.3.

  >>> per_section(jnp.arange(5.), sizes=(2, 3), counts=(1, 2)).astype(int).tolist()
  [0, 1, 0, 1, 1]
  """
  if isinstance(counts, jax.Array | np.ndarray):
    each = jnp.asarray(counts)
    counts = [each[..., i] for i in range(each.shape[-1])]
  if sum(sizes) != scores.shape[-1] or min(sizes, default=0) < 0:
    raise BadInput(f"sections of {tuple(sizes)} do not make up {scores.shape[-1]} positions")
  if len(counts) != len(sizes):
    raise BadInput(f"{len(sizes)} sections want as many counts, got {len(counts)}")
  hidden, start = [], 0
  for size, count in zip(sizes, counts, strict=True):
    part = slice(start, start + size)
    among = None if allowed is None else allowed[..., part]
    hidden.append(top(scores[..., part], count=count, allowed=among))
    start += size
  return jnp.concatenate(hidden, axis=-1) if hidden else jnp.zeros(scores.shape, jnp.bool_)


def whole(
  hidden: Bool[Array, "*b n"],
  unit: Int[Array, "*#b n"] | Int[np.ndarray, "*#b n"],
  *,
  up: bool = False,
  allowed: Bool[Array, "*#b n"] | None = None,
) -> Bool[Array, "*b n"]:
  """Leaves no unit half hidden: those that an exact budget cut are given back, or completed.

  With `up` they are completed, and more than the budget is hidden; without, less. A unit is whole
  when all its allowed positions are hidden; what is not allowed stays visible. Positions of a
  negative unit stay as they are. Every two positions of an example are compared: n² of them, which
  the CPU holds in memory.

  Args:
    hidden: a mask that may cut units.
    unit: the unit of each position; negative: none.
    up: whether cut units are completed, not given back.
    allowed: positions that may be hidden; None: all.

  Returns:
    True where hidden, all or nothing of a unit.

  Raises:
    TypeError: `hidden` or `allowed` is not bool.

  >>> hidden, unit = jnp.array([True, True, True, False]), jnp.array([0, 0, 1, 1])
  >>> whole(hidden, unit).astype(int).tolist(), whole(hidden, unit, up=True).astype(int).tolist()
  ([1, 1, 0, 0], [1, 1, 1, 1])
  """
  masks.check(hidden=hidden)
  allowed, unit = _everywhere(hidden, allowed), jnp.asarray(unit)
  hidden = hidden & allowed
  together = unit[..., :, None] == unit[..., None, :]
  tells = hidden if up else allowed & ~hidden
  told = jnp.any(together & tells[..., :, None], axis=-2)
  return jnp.where(unit < 0, hidden, allowed & told if up else hidden & ~told)


def _divide(n: int, by: int, what: str) -> None:
  """Makes sure that groups of `by` make up n positions."""
  if by < 1 or n % by:
    divisors = ", ".join(str(d) for d in range(1, n + 1) if n % d == 0)
    raise BadInput(f"{what} is not divisible by {by} (divisors: {divisors})")


def _everywhere(like: Array, allowed: Bool[Array, "..."] | None) -> Bool[Array, "..."]:
  """`allowed`, True where it says nothing, in the shape of what it is about."""
  if allowed is None:
    return jnp.ones_like(like, jnp.bool_)
  masks.check(allowed=allowed)
  return jnp.broadcast_to(allowed, like.shape)


def _of_cells(number: Any) -> Any:
  """One number per example as one per cell of an example."""
  return number[..., None] if getattr(number, "ndim", 0) else number
