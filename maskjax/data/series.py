"""Time series from a csv file: one column a channel, standardised, cut into windows."""

import csv
import dataclasses
import io
import logging
import math
from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np

from maskjax.data import text
from maskjax.data.source import Example, Source
from maskjax.errors import BadInput
from maskjax.record import Record

TIMES = ("date", "time", "datetime", "timestamp", "ds")

_log = logging.getLogger("maskjax")


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
  """Windows of `length` rows, `stride` rows apart; the last one ends with the last row.

  Example i is `{"series": float32 [length, channels], "valid": bool [length, channels]}`. Rows
  after the last full stride would otherwise never be seen, so the last step may be shorter.
  """

  values: np.ndarray
  valid: np.ndarray
  length: int
  stride: int

  def __len__(self) -> int:
    """Number of windows."""
    return -(-(len(self.values) - self.length) // self.stride) + 1

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The window at `index`."""
    i = text.inside(index, len(self))
    start = min(i * self.stride, len(self.values) - self.length)
    rows = slice(start, start + self.length)
    return {"series": self.values[rows].copy(), "valid": self.valid[rows].copy()}


def open(
  path: str,
  *,
  length: int = 96,
  stride: int = 1,
  split: Sequence[float] = (12 * 30 * 24, 4 * 30 * 24, 4 * 30 * 24),
) -> tuple[Record, dict[str, Source]]:
  r"""Opens a csv file (`.csv`, `.csv.gz`) with a header as windows of standardised series.

  A first column of dates or times is left out: one that is named like it (see `TIMES`) or where no
  cell is a number. The rows are cut in order into train, validation and test, by whole numbers of
  rows or by shares (see `text.parts`); the default is the 12, 4 and 4 months of hours that the
  Electricity Transformer data are cut into. No window straddles a cut. An empty cell, or NaN, is
  False in `valid` and 0 in `series`; the others are
  $(x - \mu_c) / \sigma_c$ with the mean and deviation of channel c over the training rows that have
  a value, kept as `record.mean` and `record.std` (the deviation of a constant channel counts as 1).

  Raises:
    BadInput: no such file, no header, no rows, a row of another width, a cell that is not a finite
      number (line and column named), a part shorter than a window, a channel without training
      values, or an argument out of range.
  """
  text.whole("length", length, least=1)
  text.whole("stride", stride, least=1)
  table, names = numbers(path)
  cut = text.parts(len(table), split)
  if "train" not in cut:
    raise BadInput(f"split {tuple(split)} of {len(table)} rows leaves none for training")
  for name, rows in cut.items():
    if rows.stop - rows.start < length:
      raise BadInput(f"{name} has {rows.stop - rows.start} rows, fewer than length {length}")
  mean, std = _statistics(table[cut["train"]], names)
  valid = ~np.isnan(table)
  values = np.where(valid, (table - mean) / std, 0).astype(np.float32)
  sources: dict[str, Source] = {
    name: Windows(values[rows], valid[rows], length, stride) for name, rows in cut.items()
  }
  sizes = {name: len(source) for name, source in sources.items()}
  shape = (length, table.shape[1])
  return Record("series", shape, sizes, mean=tuple(mean.tolist()), std=tuple(std.tolist())), sources


def numbers(path: str) -> tuple[np.ndarray, list[str]]:
  """The numbers of a csv file, float64 [rows, channels] with NaN where there is none, and names."""
  header, rows, lines = _rows(path)
  firsts = [row[0] for row in rows if row[0].strip()]
  worded = bool(firsts) and all(math.isinf(_number(cell)) for cell in firsts)
  dated = worded or header[0].strip().lower() in TIMES
  if dated:
    _log.info("%s: column %r holds dates or times, left out", path, header[0])
  names = header[dated:]
  if not names:
    raise BadInput(f"{path} has no column of numbers")
  table = np.array([[_number(cell) for cell in row[dated:]] for row in rows])
  for row, column in np.argwhere(np.isinf(table))[:1]:
    place = f"{path}, line {lines[row]}, column {names[column]!r}"
    raise BadInput(f"{place}: {rows[row][dated + column]!r} is not a finite number")
  return table, names


def _number(cell: str) -> float:
  """The number in a cell: NaN if it is empty, infinity (no series holds one) if it is no number."""
  if not cell.strip():
    return math.nan
  try:
    return float(cell) if "_" not in cell else math.inf  # Python would read 1_0 as 10
  except ValueError:
    return math.inf


def _rows(path: str) -> tuple[list[str], list[list[str]], list[int]]:
  """Header, rows of cells, and the line where each row ends; empty lines are left out."""
  reader = csv.reader(io.StringIO(text.read(path), newline=""))
  try:
    numbered = [(row, reader.line_num) for row in reader if row]
  except csv.Error as error:
    raise BadInput(f"{path}, line {reader.line_num}: {error}") from error
  if len(numbered) < 2:
    raise BadInput(f"{path} has no rows under a header")
  (header, _), *body = numbered
  if all(math.isfinite(_number(cell)) for cell in header):
    raise BadInput(f"{path} starts with numbers, not with a header of column names")
  for row, line in body:
    if len(row) != len(header):
      raise BadInput(f"{path}, line {line}: {len(row)} cells, the header has {len(header)}")
  return header, [row for row, _ in body], [line for _, line in body]


def _statistics(train: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
  """Mean and deviation of each channel over the rows that have a value, float64 [channels]."""
  empty = np.isnan(train).all(0)
  if empty.any():
    raise BadInput(f"column {names[int(empty.argmax())]!r} has no value in the training rows")
  # A constant channel is told by its range: rounding may leave its computed deviation above zero.
  constant = np.nanmax(train, 0) == np.nanmin(train, 0)
  return np.nanmean(train, 0), np.where(constant, 1.0, np.nanstd(train, 0))
