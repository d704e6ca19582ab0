"""Selecting along the axes of a grid: whole rows, columns, times, frequencies."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import masks, reduce
from maskjax.errors import BadInput
from maskjax.select.top import Count, Ratio, top

JOINS = {"any": jnp.logical_or, "all": jnp.logical_and}


def per_axis(
  scores: Float[Array, "*b n"],
  *,
  grid: tuple[int, ...],
  counts: Sequence[Count | None] | None = None,
  ratios: Sequence[Ratio | None] | None = None,
  rounding: str = "nearest",
  join: str = "any",
  allowed: Bool[Array, "*#b n"] | None = None,
) -> Bool[Array, "*b n"]:
  """Hides whole slices of the grid: along each axis so many, those of the highest mean score.

  Of a spectrogram `[time, frequency]`, `counts=(20, 2)` are 20 times and 2 frequencies. None along
  an axis leaves it alone. With join "any" a position is hidden where it lies in any of the slices,
  and what is left to see is a product of the axes; with "all" where it lies in one along every axis
  that is not left alone. `counts` and `ratios`, one an axis, and the `rounding` of ratios are
  those of `top`, of slices.
  White noise gives every choice of slices the same chance, along one axis whatever along another:
  exchanging rows, or columns, does not change its distribution. The mean is that of the allowed
  positions; slices without any are not selected, and nothing is hidden that is not allowed.

  Args:
    scores: of all positions of the grid, in row-major order; high hides first.
    grid: positions along each axis.
    counts: slices to hide along each axis; None: leave it alone.
    ratios: hidden shares of the slices in [0, 1], in place of counts.
    rounding: of ratios, see `count_of`.
    join: "any" or "all" of the axes.
    allowed: positions that may be hidden; None: all.

  Returns:
    True where hidden.

  Raises:
    BadInput: scores of another length than the grid's, other than one number an axis, an unknown
      join, all axes left alone; see `count_of`.
    TypeError: scores that are not floating, or `allowed` not bool.

  Sources: Huang et al. 2022 (Audio-MAE), section 3, "Masking strategies"; Park et al. 2019
  (SpecAugment), section 2.

  >>> scores = jnp.array([9., 9., 0., 0., 0., 8.])
  >>> per_axis(scores, grid=(2, 3), counts=(1, 1)).reshape(2, 3).astype(int).tolist()
  [[1, 1, 1], [1, 0, 0]]
  """
  if scores.shape[-1] != math.prod(grid):
    raise BadInput(f"{scores.shape[-1]} scores do not fill a grid of {tuple(grid)}")
  if (counts is None) == (ratios is None):
    raise BadInput(f"give counts or ratios of slices to hide, got {counts=} and {ratios=}")
  if join not in JOINS:
    raise BadInput(f"join must be one of {', '.join(JOINS)}, got {join!r}")
  amounts = tuple(ratios if counts is None else counts)  # type: ignore[arg-type]
  if len(amounts) != len(grid) or all(amount is None for amount in amounts):
    raise BadInput(f"a grid of {len(grid)} axes wants one number for each, got {amounts}")
  batch, word = scores.shape[:-1], "ratio" if counts is None else "count"
  if allowed is not None:
    masks.check(allowed=allowed)
  among = jnp.broadcast_to(True if allowed is None else allowed, scores.shape)
  among = among.reshape(*batch, *grid)
  chosen = []
  for axis, amount in enumerate(amounts):
    if amount is None:
      continue
    others = tuple(len(batch) + i for i in range(len(grid)) if i != axis)
    mean = reduce.mean(scores.reshape(*batch, *grid), among, axis=others)
    some = None if allowed is None else jnp.any(among, axis=others)
    number: dict[str, Any] = {word: amount}
    slices = top(mean, allowed=some, rounding=rounding, **number)
    chosen.append(slices.reshape(*batch, *(g if i == axis else 1 for i, g in enumerate(grid))))
  joined = functools.reduce(JOINS[join], chosen)
  hidden = jnp.broadcast_to(joined, (*batch, *grid)).reshape(scores.shape)
  return hidden if allowed is None else hidden & allowed
