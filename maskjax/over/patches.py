"""Positions that are blocks of an array: patches of images and clips, pixels, frames."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from maskjax.errors import BadInput
from maskjax.over.base import Batch, Over, Positions, field_of
from maskjax.over.cut import patch_grid, patchify, unpatchify
from maskjax.record import Record


def patches(
  *,
  record: Record,
  patch: Sequence[int],
  field: str = "",
  shape: Sequence[int] | None = None,
  channels: int | None = None,
) -> Over:
  """Patches of a field: $x \\in \\mathbb{R}^{space \\times c} \\to [n, p]$, in row-major order.

  Where values of an example may be missing, in a `valid` of the shape of its values, a patch is
  allowed if all of them are there.

  Args:
    record: of the data.
    patch: sides of a patch, one for each axis of space.
    field: of the batch; that of the kind of data unless said.
    shape: of the field, `(*space, channels)`; the record's unless said.
    channels: of a field that has others than the record says.

  Returns:
    Positions of `p = prod(patch) · channels` values, "nhwpqc" as published MAE weights have it.

  Raises:
    BadInput: an axis that its side of the patch does not divide.

  >>> record = Record("image", (4, 6, 1), {})
  >>> over = patches(record=record, patch=(2, 3))
  >>> over.grid, over.width, over.read({"image": jnp.zeros((1, 4, 6, 1))}).values.shape
  ((2, 2), 6, (1, 4, 6))
  """
  sides, whole = tuple(patch), tuple(record.shape if shape is None else shape)
  whole = whole if channels is None else (*whole[:-1], channels)
  grid, deep = patch_grid(whole[:-1], sides), whole[-1]
  width = math.prod(sides) * deep

  def read(batch: Batch) -> Positions:
    values = field_of(record, field, batch)
    cut, valid = patchify(values, sides), batch.get("valid")
    # One flag an example is not about values: it tells examples from padding of the batch.
    if valid is None or valid.ndim < values.ndim:
      return Positions(cut)
    there = patchify(valid, sides).all(axis=-1)
    return Positions(jnp.where(there[..., None], cut, 0), there)

  def back(values: Array) -> Array:
    return unpatchify(values, sides, grid, values.shape[-1] * deep // width)

  return Over(grid, width, read, back, cell=sides, shape=whole)


def labels(
  *,
  record: Record,
  patch: Sequence[int],
  classes: int,
  field: str,
  shape: Sequence[int] | None = None,
) -> Over:
  """Patches of a map of labels `(*space, 1)`, whose values are classes.

  Args:
    record: of the data.
    patch: sides of a patch, one for each axis of space.
    classes: how many labels there are.
    field: of the batch that holds the map.
    shape: of the field, `(*space, 1)`; the space of the record unless said.

  Raises:
    BadInput: as `patches`.

  >>> made = labels(record=Record("image", (4, 6, 3), {}), patch=(2, 3), classes=5, field="map")
  >>> made.classes, made.shape
  (5, (4, 6, 1))
  """
  made = patches(record=record, patch=patch, field=field, shape=shape, channels=1)
  return made._replace(classes=classes)


def pixels(*, record: Record, field: str = "", shape: Sequence[int] | None = None) -> Over:
  """Every pixel a position, with its channels as values: patches of one.

  Args:
    record: of the data.
    field: of the batch; that of the kind of data unless said.
    shape: of the field, `(*space, channels)`; the record's unless said.

  >>> pixels(record=Record("image", (4, 6, 3), {})).grid
  (4, 6)
  """
  axes = len(record.shape if shape is None else shape) - 1
  return patches(record=record, patch=(1,) * axes, field=field, shape=shape)


def frames(
  *, record: Record, length: int = 1, field: str = "", shape: Sequence[int] | None = None
) -> Over:
  """Spans of time a position, with everything in them as values: patches over the first axis alone.

  Args:
    record: of the data.
    length: frames at a position.
    field: of the batch; that of the kind of data unless said.
    shape: of the field, `(time, …, channels)`; the record's unless said.

  Raises:
    BadInput: a field without axes beside time and channels, or a length that does not divide it.

  >>> frames(record=Record("audio", (6, 4, 1), {}), length=2).grid
  (3, 1)
  """
  whole: Any = record.shape if shape is None else shape
  if len(whole) < 2:
    raise BadInput(f"frames are along the first axis of (time, …, channels), got {tuple(whole)}")
  return patches(record=record, patch=(length, *whole[1:-1]), field=field, shape=shape)
