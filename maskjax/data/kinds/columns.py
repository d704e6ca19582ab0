"""Tables and time series: columns of numbers, of which some may be missing."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from maskjax.data.batch import Batch
from maskjax.data.kinds.base import Kind, Ready, Scale, Shapes, array
from maskjax.data.source import Example, Source
from maskjax.record import STATISTICS, Record


def _shapes(scale: Scale, *, name: str) -> Shapes:
  """float32 and bool of one shape."""
  shape = scale["shape"]
  return {name: array(np.float32, *shape), "valid": array(np.bool_, *shape)}


def _tiny(scale: Scale, size: int, rng: np.random.Generator, *, name: str) -> Batch:
  """Values from [0, 1), 0 where they are missing: a share `missing` of them."""
  shape = (size, *scale["shape"])
  values = rng.random(shape).astype(np.float32)
  valid = rng.random(shape) >= scale.get("missing", 0.0)
  return {name: np.where(valid, values, np.float32(0)), "valid": valid}


def _table_facts(scale: Scale) -> Mapping[str, Any]:
  """Columns are scaled to [0, 1], and so not normalised any more."""
  columns = scale["shape"][0]
  names = tuple(map(str, range(columns)))
  limits = {"low": (0.0,) * columns, "high": (1.0,) * columns}
  return {"mean": (0.0,), "std": (1.0,), "columns": names, **limits}


def _series_facts(scale: Scale) -> Mapping[str, Any]:
  channels = scale["shape"][1]
  names = tuple(map(str, range(channels)))
  return {"mean": (0.0,) * channels, "std": (1.0,) * channels, "columns": names}


def _ready(record: Record, source: Source, *, name: str, known: Record | None = None) -> Ready:
  """Numbers are as their source scales them, or brought to the scale of a record of before."""
  if known is None:
    return Ready(record)
  scale, before = _scale(record, name), _scale(known, name)
  kept = dataclasses.replace(record, **{field: getattr(known, field) for field in STATISTICS})
  if np.array_equal(scale, before):
    return Ready(kept)
  return Ready(kept, prepare=partial(_rescaled, name=name, scale=scale, before=before))


def _scale(record: Record, name: str) -> np.ndarray:
  """What stands for 0 and how long 1 is, of each column, in the units of the file: [2, columns]."""
  if name == "series":
    return np.array([record.mean, record.std])
  low, high = np.array(record.low), np.array(record.high)
  return np.array([low, np.where(high > low, high - low, 1)])


def _rescaled(example: Example, *, name: str, scale: np.ndarray, before: np.ndarray) -> Example:
  values, valid = np.asarray(example[name]), np.asarray(example["valid"])
  columns = (1, -1) if name == "series" else (-1, 1)
  (zero, one), (old_zero, old_one) = (part.reshape(2, *columns) for part in (scale, before))
  moved = (values * one + zero - old_zero) / old_one
  return {**example, name: np.where(valid, moved, 0).astype(np.float32)}


table = Kind(
  axes=("columns", "channels"),
  shapes=partial(_shapes, name="table"),
  tiny=partial(_tiny, name="table"),
  facts=_table_facts,
  ready=partial(_ready, name="table"),
  masks="maskjax.view.heat:masks_table",
  reconstruction="maskjax.view.reconstruction:rows",
)
series = Kind(
  axes=("length", "channels"),
  shapes=partial(_shapes, name="series"),
  tiny=partial(_tiny, name="series"),
  facts=_series_facts,
  ready=partial(_ready, name="series"),
)
