"""Units: positions that are hidden together, as the index of each position's unit.

A negative index means no unit. Spans of a sequence are `blocks((n,), (length,))`.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from maskjax import masks
from maskjax.errors import BadInput


def sides(grid: Sequence[int], size: Sequence[int | None]) -> tuple[int, ...]:
  """The side of a cell along each axis of the grid, where a None in `size` is the whole axis.

  Raises:
    BadInput: another number of axes than the grid's, or a side below 1.

  >>> sides((8, 14, 14), (None, 2, 2))
  (8, 2, 2)
  """
  if len(grid) != len(size):
    raise BadInput(f"size {tuple(size)} has {len(size)} axes, the grid {tuple(grid)} {len(grid)}")
  if any(side is not None and side < 1 for side in size):
    raise BadInput(f"the sides of a cell are at least 1 or None, got {tuple(size)}")
  return tuple(max(g, 1) if s is None else s for g, s in zip(grid, size, strict=True))


def blocks(
  grid: Sequence[int], size: Sequence[int | None], shift: Sequence[int] | None = None
) -> Int[np.ndarray, "n"]:
  """The cell of each position of a grid that is cut into cells of `size`, both in row-major order.

  A None side is the whole axis: of a clip `[t, h, w]`, `(None, 1, 1)` are tubes, `(1, None, None)`
  frames. Where a side does not divide its axis, the last cells are smaller. With `shift` the first
  cells begin so many positions before the grid does, and are smaller too: shifted windows.

  Args:
    grid: positions along each axis.
    size: positions of a cell along each axis; None: the whole axis.
    shift: positions by which the first cell begins early; None: 0.

  Returns:
    The index of each position's cell, n = prod(grid).

  Raises:
    BadInput: see `sides`; a shift that is not one number an axis, below the side of a cell.

  >>> blocks((2, 5), (2, 2)).reshape(2, 5).tolist()
  [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2]]
  >>> blocks((5,), (2,), shift=(1,)).tolist()
  [0, 1, 1, 2, 2]
  """
  cells = sides(grid, size)
  shift = (0,) * len(cells) if shift is None else tuple(shift)
  if len(shift) != len(cells) or not all(0 <= s < c for s, c in zip(shift, cells, strict=True)):
    raise BadInput(f"cells of {cells} are shifted by less than a side, got {shift}")
  unit = np.zeros((), np.int32)
  for g, side, first in zip(grid, cells, shift, strict=True):
    along = np.arange(first, first + g, dtype=np.int32) // side
    unit = unit[..., None] * -(-(first + g) // side) + along
  return unit.reshape(-1)


def sections(sizes: Sequence[int]) -> Int[np.ndarray, "n"]:
  """The section of each position where sections of the given sizes follow each other: modalities.

  Raises:
    BadInput: a negative size.

  >>> sections((2, 0, 3)).tolist()
  [0, 0, 2, 2, 2]
  """
  if any(size < 0 for size in sizes):
    raise BadInput(f"the sizes of sections must not be negative, got {tuple(sizes)}")
  return np.repeat(np.arange(len(sizes), dtype=np.int32), np.asarray(sizes, np.int64))


def words(starts: Bool[Array, "*b n"]) -> Int[Array, "*b n"]:
  """The word of each position, where every True begins a word: whole-word masking.

  Positions before the first start end a word that was cut off, and are unit 0 by themselves. So the
  units of an example are 0, 1, 2 … without a gap, at most n of them.

  Raises:
    TypeError: `starts` is not bool.

  >>> words(jnp.array([[True, False, True], [False, True, True]])).tolist()
  [[0, 0, 1], [0, 1, 2]]
  """
  masks.check(starts=starts)
  return jnp.cumsum(starts.at[..., :1].set(False), axis=-1, dtype=jnp.int32)


def one_by_one(unit: Int[Array, "*b n"], alone: Bool[Array, "*b n"]) -> Int[Array, "*b n"]:
  """Units in the order of their positions, each position that is `alone` one by itself.

  So are the blocks of a prompt and the tokens of its answer. Other neighbours stay together.

  Raises:
    TypeError: `alone` is not bool.

  >>> one_by_one(jnp.array([0, 0, 3, 3, 3]), jnp.arange(5) > 2).tolist()
  [0, 0, 1, 2, 3]
  """
  masks.check(alone=alone)
  before = lambda x: jnp.roll(x, 1, axis=-1)
  return words(alone | before(alone) | (unit != before(unit)))


def count(unit: Int[np.ndarray, "..."]) -> int:
  """The number of units of a map known before tracing: one more than its largest index.

  >>> count(blocks((14, 14), (4, 4)))
  16
  """
  return int(np.max(unit, initial=-1)) + 1
