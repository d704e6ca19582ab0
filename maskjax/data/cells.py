"""The numbers in a csv file, which Python's `csv` takes apart: it alone tells lines as they are."""

import csv
import datetime
import io
import logging
import math
import zipfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from maskjax.data import plain
from maskjax.data.listing import stray
from maskjax.errors import BadInput

TIMES = ("date", "time", "datetime", "timestamp", "ds")
DELIMITERS = ",;\t|"
# What pandas reads as missing.
MISSING = frozenset(
  (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
  )
)

_log = logging.getLogger("maskjax")


class Numbers(NamedTuple):
  """What a csv file holds.

  Attributes:
    table: float64 [rows, columns], NaN where a cell is missing.
    names: of the columns.
    dates: the cells of the first column where it holds dates or times; else empty.
  """

  table: np.ndarray
  names: list[str]
  dates: list[str]


def numbers(
  path: str, delimiter: str = "", decimal: str = ".", header: bool | None = None
) -> Numbers:
  """The numbers of a csv file, which may be in a `.gz` or alone in a zip.

  A first column of dates or times is left out: one that is named like it (see `TIMES`) or where no
  cell is a number; so is one without a name that counts the rows from 0. `MISSING` tells which
  cells are missing. Empty lines are missing cells where there is one column, else left out.

  Args:
    path: the file.
    delimiter: between cells; "" finds it among `DELIMITERS`.
    decimal: the sign before a number's decimals, "." or ",".
    header: whether the first row names the columns; None finds out.

  Raises:
    BadInput: no such file, no header, no rows, a row of another width, or a cell that is not a
      finite number; line and column are named.
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
  counted = named and names[0] in ("", "Unnamed: 0") and first == [str(i) for i in range(len(body))]
  out = int(dated or counted)
  if out:
    what = "dates or times" if dated else "the rows' numbers"
    _log.info("%s: column %r holds %s, left out", path, names[0], what)
  if not names[out:]:
    raise BadInput(f"{path} has no column of numbers")
  table = np.array([[_number(cell, decimal) for cell in row[out:]] for row, _ in body])
  for row, column in np.argwhere(np.isinf(table))[:1]:
    cells, line = body[row]
    why = _why(cells[out + column], decimal)
    raise BadInput(f"{path}, line {line}, column {names[out + column]!r}: {why}")
  return Numbers(table, names[out:], first if dated else [])


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
  cell = cell.replace(",", ".") if decimal == "," else cell
  try:
    return float(cell) if "_" not in cell else math.inf  # Python would read 1_0 as 10
  except ValueError:
    return math.inf


def _why(cell: str, decimal: str) -> str:
  told = f"{cell!r} is not a finite number"
  if decimal == "." and math.isfinite(_number(cell, ",")):
    return f"{told}: data.decimal=',' if that is its decimal sign"
  return told


def _dated(first: Sequence[str], name: str, decimal: str) -> bool:
  known = [cell for cell in first if cell.strip() not in MISSING]
  worded = bool(known) and all(math.isinf(_number(cell, decimal)) for cell in known)
  return worded or name.strip().lower() in TIMES


def _headed(path: str, first: Sequence[str], decimal: str) -> bool:
  """Whether the first row can be names; refused where it can only be values."""
  value = lambda cell: not math.isinf(_number(cell, decimal)) or _is_date(cell)
  if not all(map(value, first)):
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
