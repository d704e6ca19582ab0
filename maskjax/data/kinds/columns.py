"""Tables and time series: columns of numbers, of which some may be missing."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from maskjax.data.batch import Batch
from maskjax.data.kinds.base import Kind, Scale, Shapes, array


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
  return {"mean": (0.0,) * channels, "std": (1.0,) * channels}


table = Kind(
  axes=("columns", "channels"),
  shapes=partial(_shapes, name="table"),
  tiny=partial(_tiny, name="table"),
  facts=_table_facts,
  masks="maskjax.view.heat:masks_table",
  reconstruction="maskjax.view.reconstruction:rows",
)
series = Kind(
  axes=("length", "channels"),
  shapes=partial(_shapes, name="series"),
  tiny=partial(_tiny, name="series"),
  facts=_series_facts,
)
