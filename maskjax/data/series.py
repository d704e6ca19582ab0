"""Time series from a csv file: one column a channel, standardised, cut into windows."""

import dataclasses
from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np

from maskjax.data import cells
from maskjax.data.digests import digest
from maskjax.data.parts import parts
from maskjax.data.source import Example, Source, inside, whole
from maskjax.errors import BadInput
from maskjax.record import Record


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
  digest: str = ""

  def __len__(self) -> int:
    """Number of windows."""
    return -(-(len(self.values) - self.length) // self.stride) + 1

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The window at `index`."""
    i = inside(index, len(self))
    start = min(i * self.stride, len(self.values) - self.length)
    rows = slice(start, start + self.length)
    return {"series": self.values[rows].copy(), "valid": self.valid[rows].copy()}


def open(
  path: str,
  *,
  length: int = 96,
  stride: int = 1,
  split: Sequence[float] = (12 * 30 * 24, 4 * 30 * 24, 4 * 30 * 24),
  delimiter: str = "",
  decimal: str = ".",
  header: bool | None = None,
  columns: Sequence[str] = (),
  na_values: Sequence[str] = (),
) -> tuple[Record, dict[str, Source]]:
  r"""Opens a csv file, in a `.gz` or a zip too, as windows of standardised series.

  The arguments from `delimiter` on are those of `cells.numbers`. A first column of dates or times
  is left out, and so is one of row numbers; dates may neither fall nor repeat. The rows are cut in
  order into train, validation and test, by whole numbers of rows or by shares (see `parts.parts`);
  the default is the 12, 4 and 4 months of hours that the Electricity Transformer data are cut into.
  No window straddles a cut. A missing cell is False in `valid` and 0 in `series`; the others are
  $(x - \mu_c) / \sigma_c$ with the mean and deviation of channel c over the training rows that have
  a value, kept as `record.mean` and `record.std` (the deviation of a constant channel counts as 1).

  Args:
    path: the file.
    length: rows of a window.
    stride: rows from one training window to the next.
    split: rows of each part, whole numbers or shares.
    delimiter: between cells; "": found out.
    decimal: the mark between digits.
    header: whether the first row holds names; None: found out.
    columns: those that are read; (): all.
    na_values: cells that are missing beside `cells.MISSING`, such as ("?",).

  Returns:
    The record, and the windows of each split.

  Raises:
    BadInput: no such file, no header, no rows, a row of another width, a cell that is not a finite
      number (line and column named), a part shorter than a window, a channel without training
      values, or an argument out of range.
  """
  whole("length", length, least=1)
  whole("stride", stride, least=1)
  table, names, dates, _ = cells.numbers(path, delimiter, decimal, header, columns, na_values)
  cells.check_order(path, dates)
  cut = parts(len(table), split)
  if "train" not in cut:
    raise BadInput(f"split {tuple(split)} of {len(table)} rows leaves none for training")
  for name, rows in cut.items():
    if rows.stop - rows.start < length:
      raise BadInput(f"{name} has {rows.stop - rows.start} rows, fewer than length {length}")
  mean, std = _statistics(table[cut["train"]], names)
  valid = ~np.isnan(table)
  values = np.where(valid, (table - mean) / std, 0).astype(np.float32)
  sources: dict[str, Source] = {
    name: Windows(values[rows], valid[rows], length, stride, digest([table[rows].tobytes()]))
    for name, rows in cut.items()
  }
  sizes = {name: len(source) for name, source in sources.items()}
  shape = (length, table.shape[1])
  measured = Record("series", shape, sizes, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
  return dataclasses.replace(measured, columns=tuple(names)), sources


def _statistics(train: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
  """Mean and deviation of each channel over the rows that have a value, float64 [channels]."""
  empty = np.isnan(train).all(0)
  if empty.any():
    raise BadInput(f"column {names[int(empty.argmax())]!r} has no value in the training rows")
  # A constant channel is told by its range: rounding may leave its computed deviation above zero.
  constant = np.nanmax(train, 0) == np.nanmin(train, 0)
  return np.nanmean(train, 0), np.where(constant, 1.0, np.nanstd(train, 0))
