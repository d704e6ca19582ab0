"""Pictures of tables: a coloured cell a value, hatched where there is none."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Array, Float, UInt8

from maskjax.errors import BadInput, unknown
from maskjax.record import Record
from maskjax.view import grid as layout
from maskjax.view.legend import SCALE, bar, under_legend

CELL = 16  # pixels of a cell
WIDEST = 400  # pixels that a table is drawn across at most, where its cells can be smaller


def heat(tables: Mapping[str, Float[np.ndarray | Array, "r c"]]) -> layout.Picture:
  """Draws tables of values in [0, 1] side by side under their names; NaN is hatched.

  Values beyond 0 and 1 get the colour of the end.

  Raises:
    BadInput: without tables, or tables of different numbers of rows.

  >>> heat({"given": np.array([[0.0, np.nan], [0.5, 1.0]])}).shape[-1]
  3
  """
  shapes = {name: np.shape(table) for name, table in tables.items()}
  if len({shape[0] for shape in shapes.values()}) != 1 or () in shapes.values():
    raise BadInput(f"tables side by side have one and the same number of rows, got {shapes}")
  side = max(4, min(CELL, WIDEST // max(shape[1] for shape in shapes.values())))
  pictures = [_cells(np.asarray(table, np.float32), side) for table in tables.values()]
  return under_legend(layout.sheet([pictures], list(tables)), [["0", bar(), "1"]])


def rows(views: Mapping[str, Any], titles: Mapping[str, str]) -> layout.Picture:
  """The views of a batch of rows, each Float[b, columns, 1], that `titles` names, in its order.

  Raises:
    BadInput: when a view that `titles` names is not there.
  """
  for name in titles:
    if name not in views:
      raise unknown("view", name, views)
  return heat({title: np.asarray(views[name])[..., 0] for name, title in titles.items()})


def masks_table(views: Mapping[str, Any], record: Record) -> layout.Picture:
  """Shows rows with their missing cells, and what the model sees once more cells are hidden."""
  return rows(views, {"input": "input", "seen": "model sees"})


def _cells(table: Float[np.ndarray, "r c"], side: int) -> layout.Picture:
  there = np.isfinite(table)
  pixels = tints(np.where(there, table, 0))
  return layout.hatch(layout.magnify(pixels[None], side), layout.magnify(~there[None], side))[0]


def tints(values: Float[np.ndarray, "*b"]) -> UInt8[np.ndarray, "*b 3"]:
  """The colours of values in [0, 1], light to dark; those beyond get the colour of the end.

  >>> tints(np.array([0.0, 1.0])).tolist()
  [[254, 238, 170], [62, 44, 112]]
  """
  level, stops = np.clip(values, 0, 1), np.linspace(0, 1, len(SCALE))
  colours = np.stack([np.interp(level, stops, channel) for channel in SCALE.T], axis=-1)
  return np.rint(colours).astype(np.uint8)
