"""Where a token is: fixed tables for grids of any shape, and tables moved between grids."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from maskjax.errors import BadInput


def sincos(grid: Sequence[int], width: int) -> Float[np.ndarray, "n width"]:
  """The fixed table of a grid: sines and cosines of each coordinate, those of the last axis first.

  `[sin(x ω), cos(x ω)]` per axis, `ω_i = 10000^(-i / m)`, `i < m = width // (2 · axes)`. Positions
  are in row-major order; channels left over where `width` does not divide are zero. With two axes
  this is the table of published MAE weights, whose first half encodes the column.

  >>> sincos((2, 3), 8).shape
  (6, 8)

  Source: Vaswani et al., 2017, section 3.5; He et al. (MAE), 2022, appendix A.1.
  """
  half = width // (2 * len(grid))
  if not half:
    raise BadInput(f"width {width} is too small for {len(grid)} axes: at least {2 * len(grid)}")
  frequency = 1.0 / 10000 ** (np.arange(half) / half)
  axes = np.meshgrid(*(np.arange(size) for size in grid), indexing="ij")
  angles = [axis.reshape(-1, 1) * frequency for axis in reversed(axes)]
  table = np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], axis=1)
  return np.pad(table, ((0, 0), (0, width - table.shape[1]))).astype(np.float32)


def relative(grid: Sequence[int], class_token: bool = False) -> Int[np.ndarray, "m m"]:
  """Which row of a table of relative positions is that of a pair (query, key).

  There is a row for each offset, query minus key, in row-major order, ∏ (2 g - 1) of them. A class
  token, which comes first, adds three: for it to others, for others to it, and for it to itself.

  >>> relative((3,)).tolist(), relative((2,), class_token=True).tolist()
  ([[2, 1, 0], [3, 2, 1], [4, 3, 2]], [[5, 3, 3], [4, 1, 0], [4, 2, 1]])

  Source: Liu et al., "Swin Transformer", 2021, section 3.2; with a class token, Bao et al., "BEiT",
  2022, appendix.
  """
  sides = [2 * g - 1 for g in grid]
  at = np.indices(grid).reshape(len(grid), -1)
  offset = at[:, :, None] - at[:, None, :] + np.reshape(grid, (-1, 1, 1)) - 1
  row, n = np.ravel_multi_index(tuple(offset), sides), math.prod(sides)
  if class_token:
    row = np.pad(row, ((1, 0), (1, 0)), constant_values=n)
    row[1:, 0], row[0, 0] = n + 1, n + 2
  return row


def resize(
  table: Float[Array, "n d"], old_grid: Sequence[int], new_grid: Sequence[int]
) -> Float[Array, "m d"]:
  """Moves a table of positions to another grid by cubic interpolation along each axis.

  Cubic convolution with `a = -0.75`, pixel centres aligned, borders repeated, no smoothing: what
  PyTorch's `interpolate(mode="bicubic", align_corners=False)` does. The same grid returns `table`.
  `BadInput` if `n` is not the product of `old_grid`, or the grids differ in their number of axes.

  >>> resize(jnp.ones((4, 3)), (2, 2), (3, 5)).shape
  (15, 3)

  Source: Keys, "Cubic convolution interpolation for digital image processing", 1981.
  """
  old_grid, new_grid = tuple(old_grid), tuple(new_grid)
  if table.shape[0] != math.prod(old_grid):
    raise BadInput(f"a table of {table.shape[0]} positions does not fit grid {old_grid}")
  if len(old_grid) != len(new_grid):
    raise BadInput(f"positions of grid {old_grid} cannot move to {new_grid}: other number of axes")
  if old_grid == new_grid:
    return table
  x = table.reshape(*old_grid, -1)
  for axis, (old, new) in enumerate(zip(old_grid, new_grid, strict=True)):
    if old != new:
      weights = jnp.asarray(_cubic(old, new), table.dtype)
      moved = jnp.tensordot(weights, x, (1, axis), precision="highest")
      x = jnp.moveaxis(moved, 0, axis)
  return x.reshape(math.prod(new_grid), -1)


def resize_table(
  table: Float[Array, "n d"], old_grid: Sequence[int], new_grid: Sequence[int]
) -> Float[Array, "m d"]:
  """`resize` for a table that may start with one row of a class token, which stays as it is.

  >>> resize_table(jnp.ones((5, 3)), (2, 2), (3, 5)).shape
  (16, 3)
  """
  extra = table.shape[0] - math.prod(old_grid)
  if extra not in (0, 1):
    raise BadInput(f"a table of {table.shape[0]} positions does not fit grid {tuple(old_grid)}")
  if tuple(old_grid) == tuple(new_grid):
    return table
  return jnp.concatenate([table[:extra], resize(table[extra:], old_grid, new_grid)])


def _cubic(old: int, new: int, a: float = -0.75) -> Float[np.ndarray, "new old"]:
  centre = (np.arange(new) + 0.5) * old / new - 0.5
  first = np.floor(centre).astype(int) - 1
  weights = np.zeros((new, old))
  for tap in range(4):
    distance = np.abs(centre - (first + tap))
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    source = np.clip(first + tap, 0, old - 1)
    np.add.at(weights, (np.arange(new), source), np.where(distance <= 1, near, far))
  return weights
