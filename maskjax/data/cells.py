"""The numbers in a csv file, which Python's `csv` takes apart: it alone tells lines as they are."""

import csv
import datetime
import io
import logging
import math
import re
import zipfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from maskjax.data import plain
from maskjax.data.listing import stray
from maskjax.errors import BadInput, unknown

TIMES = ("date", "time", "datetime", "timestamp", "ds")
DELIMITERS = ",;\t|"
# What pandas reads as missing.
MISSING = frozenset(
  (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
  )
)

_BOOLS = dict.fromkeys(("True", "TRUE", "true"), 1.0) | dict.fromkeys(
  ("False", "FALSE", "false"), 0.0
)
_UNNAMED = ("", "Unnamed: 0")
_log = logging.getLogger("maskjax")


class Numbers(NamedTuple):
  """What a csv file holds.

  Attributes:
    table: float64 [rows, columns], NaN where a cell is missing.
    names: of the columns.
    dates: the cells of the first column where it holds dates or times; else empty.
    at: where each column stands in a row of the file.
  """

  table: np.ndarray
  names: list[str]
  dates: list[str]
  at: list[int]


def numbers(
  path: str,
  delimiter: str = "",
  decimal: str = ".",
  header: bool | None = None,
  columns: Sequence[str] = (),
  na_values: Sequence[str] = (),
) -> Numbers:
  """The numbers of a csv file, which may be in a `.gz` or alone in a zip.

  A first column of dates, times or words is left out: one that is named like it (see `TIMES`) or
  where no cell is a number or meant as one, such as "12%"; so are a first one without a name that
  counts the rows from 0, and any without a name that holds nothing. `MISSING` tells which cells are
  missing, True and False are 1 and 0. Empty lines are missing cells where there is one column, else
  left out.

  Args:
    path: the file.
    delimiter: between cells; "" finds it among `DELIMITERS`.
    decimal: the sign before a number's decimals, "." or ",".
    header: whether the first row names the columns; None finds out.
    columns: names of those that are read; () for all.
    na_values: what is missing beside `MISSING`, such as "?".

  Raises:
    BadInput: no such file, no header, no rows, a row of another width, no such column, or a cell
      that is not a finite number; line and column are named.
  """
  if decimal not in (".", ","):
    raise BadInput(f"data.decimal is '.' or ',', got {decimal!r}")
  rows, lines = _rows(path, delimiter, decimal)
  named = _headed(path, rows[0], decimal) if header is None else header
  names = rows[0] if named else [f"column {i}" for i in range(len(rows[0]))]
  body = list(zip(rows, lines, strict=True))[named:]
  if not body:
    raise BadInput(f"{path} has no rows under a header")
  for row, line in body:
    if len(row) != len(names):
      raise BadInput(f"{path}, line {line}: {len(row)} cells, the header has {len(names)}")
  first = [row[0] for row, _ in body]
  dated = _dated(first, names[0], decimal)
  at = _chosen(path, names, columns) or list(range(int(dated), len(names)))
  if dated and not columns:
    what = "dates or times" if names[0].strip().lower() in TIMES or _is_date(first[0]) else "words"
    _log.info("%s: column %r holds %s, left out", path, names[0], what)
  if not columns and named and names[0] in _UNNAMED and first == [str(i) for i in range(len(body))]:
    _log.info("%s: column %r holds the rows' numbers, left out", path, names[0])
    at = at[1:]
  missing = MISSING | set(na_values)
  cell = lambda text: math.nan if text.strip() in missing else _number(text, decimal)
  table = np.array([[cell(row[i]) for i in at] for row, _ in body])
  for row, column in np.argwhere(np.isinf(table))[:1]:
    cells, line = body[row]
    why = _why(cells[at[column]], decimal)
    raise BadInput(f"{path}, line {line}, column {names[at[column]]!r}: {why}")
  held = [
    not (named and not names[i].strip() and np.isnan(table[:, c]).all()) for c, i in enumerate(at)
  ]
  if not any(held):
    raise BadInput(f"{path} has no column of numbers")
  if not all(held):
    _log.warning("%s: %d columns without a name or a value are left out", path, held.count(False))
  at = [i for i, kept in zip(at, held, strict=True) if kept]
  return Numbers(table[:, held], [names[i] for i in at], first if dated else [], at)


def _chosen(path: str, names: Sequence[str], columns: Sequence[str]) -> list[int]:
  """Where the named columns stand, in the order of the file."""
  if isinstance(columns, str):
    raise BadInput(f"data.columns is a list of names, got {columns!r}")
  for name in columns:
    if name not in names:
      raise unknown(f"column of {path}", name, names)
  return [i for i, name in enumerate(names) if name in columns]


def check_order(path: str, dates: Sequence[str]) -> None:
  """Makes sure that dates grow from row to row, as far as they can be read, and never repeat.

  Raises:
    BadInput: two do not; their rows are named.
  """
  seen: dict[str, int] = {}
  before: datetime.datetime | float | None = None
  for row, cell in enumerate(dates, 1):
    now = _moment(cell)
    if now is None and not _is_date(cell):
      continue
    if cell in seen:
      raise BadInput(
        f"{path}: rows {seen[cell]} and {row} have one date, {cell!r}: keep one series"
      )
    seen[cell] = row
    if now is not None and type(now) is type(before) and now < before:  # type: ignore[operator]
      raise BadInput(f"{path}: row {row} of {cell!r} is older than the one above it: sort the rows")
    before = now if now is not None else before


def _moment(cell: str) -> datetime.datetime | float | None:
  """A count of seconds or the like, or an ISO date; None where it is neither."""
  number = _number(cell, ".")
  if math.isfinite(number):
    return number
  try:
    found = datetime.datetime.fromisoformat(cell.strip())
  except ValueError:
    return None
  return found if found.tzinfo is None else found.timestamp()


def _number(cell: str, decimal: str) -> float:
  """The number in a cell: NaN if it is missing, infinity (no file holds one) if it is no number."""
  if cell.strip() in MISSING:
    return math.nan
  if cell.strip() in _BOOLS:
    return _BOOLS[cell.strip()]
  cell = cell.replace(",", ".") if decimal == "," else cell
  try:
    return float(cell) if "_" not in cell else math.inf  # Python would read 1_0 as 10
  except ValueError:
    return math.inf


def _why(cell: str, decimal: str) -> str:
  told = f"{cell!r} is not a finite number"
  if decimal == "." and math.isfinite(_number(cell, ",")):
    return f"{told}: data.decimal=',' if that is its decimal sign"
  gap = f"data.na_values=({cell.strip()!r},) if it is a gap, "
  return f"{told}: {gap}data.columns=(...) names the columns to read"


def _dated(first: Sequence[str], name: str, decimal: str) -> bool:
  known = [cell for cell in first if cell.strip() not in MISSING]
  number = lambda cell: math.isfinite(_number(re.sub(r"[,.%$€£\s]", "", cell), decimal))
  worded = bool(known) and not any(map(number, known))
  return worded or name.strip().lower() in TIMES


def _headed(path: str, first: Sequence[str], decimal: str) -> bool:
  """Whether the first row can be names; refused where a number or a date is among them."""
  value = lambda cell: math.isfinite(_number(cell, decimal)) or _is_date(cell)
  if not any(map(value, first)):
    return True
  raise BadInput(
    f"{path} starts with values, {', '.join(first)[:60]}, not with a header of column names: "
    "data.header=False if it has none, data.header=True if these are names"
  )


def _is_date(cell: str) -> bool:
  try:
    datetime.datetime.fromisoformat(cell.strip())
  except ValueError:
    return cell.count("/") == 2 and cell.replace("/", "").split(" ")[0].isdigit()
  return True


def _rows(path: str, delimiter: str, decimal: str) -> tuple[list[list[str]], list[int]]:
  """Rows of cells, and the line where each ends."""
  content = content_of(path)
  found = delimiter or delimiter_of(content, decimal)
  if len(found) != 1:
    raise BadInput(f"data.delimiter is one character, got {found!r}")
  reader = csv.reader(io.StringIO(content, newline=""), delimiter=found)
  numbered: list[tuple[list[str], int]] = []
  try:
    numbered = [(row, reader.line_num) for row in reader]
  except csv.Error as error:
    raise BadInput(f"{path}, line {reader.line_num}: {error}") from error
  while numbered and not numbered[-1][0]:
    numbered.pop()
  single = bool(numbered) and max(len(row) for row, _ in numbered) == 1
  rows = [(row or [""], line) for row, line in numbered if row or single]
  if dropped := len(numbered) - len(rows):
    _log.warning("%s: %d empty lines are left out", path, dropped)
  if not rows:
    raise BadInput(f"{path} has no rows under a header")
  return [row for row, _ in rows], [line for _, line in rows]


def delimiter_of(content: str, decimal: str) -> str:
  """The one that cuts the first lines into the most cells, as many each; a comma if none does."""
  best, most = ",", 1
  for one in DELIMITERS:
    if one == decimal:
      continue
    reader = csv.reader(io.StringIO(content[: 1 << 16], newline=""), delimiter=one)
    counts = [len(row) for row, _ in zip(_rows_of(reader), range(20), strict=False) if row]
    # The last row may be cut short where the file is longer than what is looked at.
    if counts and min(counts[:-1] or counts) == max(counts[:-1] or counts) > most:
      best, most = one, counts[0]
  return best


def _rows_of(reader: Iterator[list[str]]) -> Iterator[list[str]]:
  try:
    yield from reader
  except csv.Error:
    return


def content_of(path: str) -> str:
  """The text of a file, or of the only file in a zip."""
  if not zipfile.is_zipfile(path):
    return plain.read(path)
  try:
    with zipfile.ZipFile(path) as archive:
      names = [n for n in archive.namelist() if not n.endswith("/") and not stray(n)]
      if len(names) != 1:
        raise BadInput(
          f"{path} holds {len(names)} files, not a single csv: {', '.join(names)[:80]}"
        )
      return plain.decoded(archive.read(names[0]), names[0], zipped=plain.gz(names[0]))
  except (zipfile.BadZipFile, OSError, RuntimeError) as error:
    raise BadInput(f"cannot read {path}: {error}") from error
