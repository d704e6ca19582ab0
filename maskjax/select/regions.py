"""Regions from where they begin and how far they reach: spans of a sequence, boxes of a grid."""

import math
import numbers

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from maskjax import masks
from maskjax.errors import BadInput


def spread(
  starts: Bool[Array, "*b n"],
  *,
  length: int | Int[Array, ""] | Int[Array, "*#b n"],
  limit: int | Int[Array, ""] | Int[Array, "*b"] | None = None,
) -> Bool[Array, "*b n"]:
  """Hides a span of `length` positions from every start; spans may overlap.

  A length is one for all, or one per position. Spans are clipped at the end, or at the `limit`, the
  number of valid positions of all or of each example; so the numbers that are hidden differ.

  Args:
    starts: True where a span begins.
    length: positions of a span, one for all or one per position.
    limit: number of valid positions, of all or of each example; None: n.

  Returns:
    True where hidden.

  Raises:
    BadInput: a negative length.
    TypeError: `starts` is not bool.

  Source: Baevski et al. 2020 (wav2vec 2.0), section 3.1.

  >>> spread(jnp.array([True, False, False, True, True]), length=2).astype(int).tolist()
  [1, 1, 0, 1, 1]
  """
  masks.check(starts=starts)
  if isinstance(length, numbers.Integral) and length < 0:
    raise BadInput(f"the length of spans must not be negative, got {length}")
  position = jnp.arange(starts.shape[-1], dtype=jnp.int32)
  reach = jax.lax.cummax(jnp.where(starts, position + length, 0), axis=starts.ndim - 1)
  if limit is not None:
    reach = jnp.minimum(reach, jnp.asarray(limit, jnp.int32)[..., None])
  return position < reach


def rectangles(
  corner: Int[Array, "*b k a"], size: Int[Array, "*b k a"], *, grid: tuple[int, ...]
) -> Bool[Array, "*b n"]:
  """Hides the union of k boxes, each from its `corner` and of its `size`, in a grid of any axes.

  Corner and size count positions along each axis; what reaches beyond the grid is clipped. A box of
  size s lies inside, and every position is reached, with corners from 0 to grid - s inclusive.

  Args:
    corner: first position of each box along each axis.
    size: positions of each box along each axis.
    grid: positions along each of the a axes, n in all.

  Returns:
    True where hidden.

  Raises:
    BadInput: corners and sizes of another number of axes than the grid's.

  Sources: Bao et al. 2022 (BEiT), section 2.3; Assran et al. 2023 (I-JEPA), section 3.

  >>> corner, size = jnp.array([[0, 0], [1, 2]]), jnp.array([[1, 2], [1, 2]])
  >>> rectangles(corner, size, grid=(2, 4)).reshape(2, 4).astype(int).tolist()
  [[1, 1, 0, 0], [0, 0, 1, 1]]
  """
  if not corner.shape[-1] == size.shape[-1] == len(grid):
    axes = f"{corner.shape[-1]} and {size.shape[-1]}"
    raise BadInput(f"corners and sizes have {axes} axes, the grid {tuple(grid)} has {len(grid)}")
  inside = jnp.ones(corner.shape[:-1], jnp.bool_)
  for axis, side in enumerate(grid):
    after = jnp.arange(side, dtype=jnp.int32) - corner[..., axis, None]
    along = (after >= 0) & (after < size[..., axis, None])
    along = along.reshape(*corner.shape[:-1], *[1] * axis, side)
    inside = inside[..., None] & along
  boxes = inside.reshape(*corner.shape[:-1], math.prod(grid))
  return jnp.any(boxes, axis=-2)
