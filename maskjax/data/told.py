"""Captions that come with images: tables of metadata, or a text beside each image."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from maskjax.data.listing import Listing, normal
from maskjax.errors import BadInput, unknown

COLUMNS = ("text", "caption")
TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
Captions = tuple[str, ...]


def captions_of(listing: Listing, column: str = "") -> list[Captions]:
  """The captions of each readable file of a listing, () where there is none.

  The first of these that names a file tells its captions: `metadata.csv`, `.jsonl` or `.parquet` in
  its folder or one above, the nearest one first, whose `file_name` is relative to the table's
  folder; then a text beside the file, `x.txt` of `x.jpg`. A file that a table names in several rows
  has several captions, and so has one with a list of them in its row of a `.jsonl` or `.parquet`.

  Args:
    listing: of a folder or a zip.
    column: that of the captions in tables; "" is "text", else "caption".

  Raises:
    BadInput: a table that cannot be read, without `file_name` or the column.
  """
  there = set(listing.passed)
  beside = [_beside(name) for name in listing.names]
  wanted = [name for name in listing.passed if PurePosixPath(name).name in TABLES]
  columnar = [name for name in wanted if name.endswith(".parquet")]
  texts = listing.texts([*(set(wanted) - {*columnar}), *sorted(there & set(beside))])
  rows = {name: _rows(name, texts[name].removeprefix("\ufeff")) for name in wanted if name in texts}
  rows |= {name: _parquet(name, held) for name, held in listing.bytes(columnar).items()}
  tables: dict[str, dict[str, Captions]] = {}
  for name in wanted:
    tables.setdefault(_folder(name), {}).update(_table(name, rows[name], column))
  return [
    _nearest(name, tables) or ((texts[note].strip(),) if texts.get(note, "").strip() else ())
    for name, note in zip(listing.names, beside, strict=True)
  ]


def _nearest(name: str, tables: Mapping[str, Mapping[str, Captions]]) -> Captions:
  """What the nearest table at or above a file says of it."""
  path = PurePosixPath(name)
  for folder in path.parents:
    inner = path.relative_to(folder).as_posix()
    if found := tables.get("" if str(folder) == "." else str(folder), {}).get(inner):
      return found
  return ()


def _table(
  name: str, rows: Iterable[tuple[str, Mapping[str, Any]]], column: str
) -> dict[str, Captions]:
  """The captions of a table by the names of files."""
  found: dict[str, Captions] = {}
  for where, row in rows:
    if "file_name" not in row:
      raise BadInput(f"{name}, {where}: no file_name, which says of which image a row is")
    known = [column] if column else [one for one in COLUMNS if one in row]
    if not known or known[0] not in row:
      named = unknown("column of captions", column, row) if column else None
      raise named or BadInput(
        f"{name}, {where}: no column {' or '.join(COLUMNS)}; data.captions.column names another"
      )
    value = row[known[0]]
    several = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in several if one is not None):
      raise BadInput(f"{name}, {where}: a caption is a text or a list of texts, got {value!r}")
    key = normal(str(row["file_name"]))
    found[key] = (*found.get(key, ()), *(one.strip() for one in several if one and one.strip()))
  return found


def _rows(name: str, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
  """The rows of a table, each with where it stands."""
  if name.endswith(".csv"):
    for row in (reader := csv.DictReader(text.splitlines(keepends=True))):
      yield f"line {reader.line_num}", {k: v for k, v in row.items() if k is not None}
    return
  for number, line in enumerate(text.splitlines(), 1):
    if not line.strip():
      continue
    try:
      row = json.loads(line)
    except json.JSONDecodeError as error:
      raise BadInput(f"{name}, line {number}: no JSON: {error.msg}") from error
    if not isinstance(row, dict):
      raise BadInput(f"{name}, line {number}: no object")
    yield f"line {number}", row


def _parquet(name: str, content: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
  """The rows of a table of Parquet, each with its number."""
  import pyarrow.parquet  # takes half a second, which others need not pay

  try:
    rows = pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
  except pyarrow.ArrowInvalid as error:
    raise BadInput(f"{name}: no Parquet: {' '.join(str(error).split())}") from error
  yield from ((f"row {i}", row) for i, row in enumerate(rows, 1))


def _beside(name: str) -> str:
  return str(PurePosixPath(name).with_suffix(".txt"))


def _folder(name: str) -> str:
  return name.rpartition("/")[0]


def check(split: str, captions: Sequence[Captions], names: Sequence[str]) -> None:
  """Makes sure that all images of a split have captions.

  Raises:
    BadInput: some have none; the first is named.
  """
  without = [i for i, one in enumerate(captions) if not one]
  if without:
    told = f"{len(without)} of {len(captions)} images of {split!r} have no caption"
    raise BadInput(f"{told} ({names[without[0]]}): x.txt beside x.jpg, or a metadata.csv")
