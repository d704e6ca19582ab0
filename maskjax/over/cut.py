"""Patches: a picture, signal or clip cut into a sequence of blocks, and put together again."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Shaped

from maskjax.errors import BadInput


def patch_grid(space: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
  """The number of patches along each axis of `space`; `BadInput` unless every axis divides evenly.

  >>> patch_grid((32, 48), (8, 16))
  (4, 3)
  """
  space, patch = tuple(space), tuple(patch)
  if len(space) != len(patch):
    raise BadInput(f"patch {patch} has {len(patch)} axes, the data {space} has {len(space)}")
  for axis, (size, side) in enumerate(zip(space, patch, strict=True)):
    if side < 1 or size % side:
      sides = ", ".join(str(s) for s in range(1, size + 1) if size % s == 0)
      raise BadInput(
        f"size {size} of axis {axis} in {space} is not divisible by {side} in patch {patch}"
        f" (divisors: {sides})"
      )
  return tuple(size // side for size, side in zip(space, patch, strict=True))


def patchify(x: Shaped[Array, "*b_space c"], patch: Sequence[int]) -> Shaped[Array, "*b n p"]:
  """Cuts the last axes before the channels into patches, in row-major order.

  `x` is `[*b, *space, c]` with as many space axes as `patch` has (1, 2, 3 …); `p` runs over the
  patch's own axes and then the channels, the "nhwpqc" order of published MAE weights.

  Args:
    x: pictures, signals or clips, channels last.
    patch: sides of a patch, one for each axis of space.

  Raises:
    BadInput: an axis that its side does not divide.

  >>> patchify(jnp.arange(8).reshape(2, 4, 1), (2, 2)).tolist()
  [[0, 1, 4, 5], [2, 3, 6, 7]]

  Source: He et al., "Masked Autoencoders Are Scalable Vision Learners", 2022, section 3.
  """
  axes = len(patch)
  if x.ndim < axes + 1:
    raise BadInput(f"patch {tuple(patch)} needs {axes} space axes and channels, got {x.shape}")
  batch, space = x.shape[: x.ndim - axes - 1], x.shape[-axes - 1 : -1]
  grid, channels = patch_grid(space, patch), x.shape[-1]
  split = [size for pair in zip(grid, patch, strict=True) for size in pair]
  x = x.reshape(*batch, *split, channels)
  b = len(batch)
  grid_axes = [b + 2 * i for i in range(axes)]
  patch_axes = [b + 2 * i + 1 for i in range(axes)]
  x = jnp.transpose(x, (*range(b), *grid_axes, *patch_axes, b + 2 * axes))
  return x.reshape(*batch, math.prod(grid), math.prod(patch) * channels)


def unpatchify(
  patches: Shaped[Array, "*b n p"], patch: Sequence[int], grid: Sequence[int], channels: int
) -> Shaped[Array, "*b_space c"]:
  """Puts patches together again: the inverse of `patchify`, `[*b, n, p]` to `[*b, *space, c]`.

  Args:
    patches: n = prod(grid) of them, of p = prod(patch) · channels values.
    patch: sides of a patch, one for each axis of space.
    grid: patches along each axis of space.
    channels: of the picture.

  Raises:
    BadInput: another n or p than these make.

  >>> x = jnp.arange(24.).reshape(4, 6, 1)
  >>> bool((unpatchify(patchify(x, (2, 3)), (2, 3), (2, 2), 1) == x).all())
  True
  """
  *batch, n, p = patches.shape
  if len(grid) != len(patch):
    raise BadInput(f"grid {tuple(grid)} and patch {tuple(patch)} differ in their number of axes")
  if n != math.prod(grid) or p != math.prod(patch) * channels:
    raise BadInput(
      f"patches [{n}, {p}] do not fit grid {tuple(grid)}, patch {tuple(patch)}, {channels} channels"
    )
  b, axes = len(batch), len(patch)
  x = patches.reshape(*batch, *grid, *patch, channels)
  pairs = [axis for i in range(axes) for axis in (b + i, b + axes + i)]
  x = jnp.transpose(x, (*range(b), *pairs, b + 2 * axes))
  return x.reshape(*batch, *(g * s for g, s in zip(grid, patch, strict=True)), channels)
