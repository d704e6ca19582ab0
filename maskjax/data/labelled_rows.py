"""Texts and their labels as files have them: tables, JSON lines, folders, one text in parts."""

import csv
import io
import json
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from maskjax.data import cells, plain
from maskjax.data.layout import lay_out
from maskjax.data.listing import listed
from maskjax.data.splits import Chosen
from maskjax.data.stored import stored
from maskjax.data.text import SUFFIXES, cut
from maskjax.errors import BadInput, unknown

TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
LINES = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")


class Row(NamedTuple):
  """A text and its label.

  Attributes:
    text: the text.
    label: its class; None without one.
    place: where it stands, for messages.
  """

  text: str
  label: str | None
  place: str


class Columns(NamedTuple):
  """Where a table has its texts and labels: names of columns, "" for no labels."""

  text: str = "text"
  label: str = "label"
  delimiter: str = ""


def folder(
  path: str, columns: Columns, label: str, splits: Chosen
) -> tuple[dict[str, list[Row]], bool]:
  """The rows of each split of a folder or zip, and whether anything told the splits.

  Tables and lines if there are any, else a text a file, whose folders are the classes.
  """
  with_rows = listed(path, (*TABLES, *LINES, *SUFFIXES), "texts")
  tables = any(name.lower().endswith((*TABLES, *LINES)) for name in with_rows.names)
  listing = listed(path, (*TABLES, *LINES), "tables of texts") if tables else with_rows
  named = {"label": "", "by_file": True} if tables else {"label": label}
  layout = lay_out(listing, splits=splits, by_hash=False, **named)
  files = stored(listing, layout.labels)
  read = lambda i: plain.decoded(files[i][0], files.name(i), zipped=plain.gz(files.names[i]))
  found: dict[str, list[Row]] = {}
  for split, indices in layout.splits.items():
    rows = found.setdefault(split, [])
    for i in indices:
      if tables:
        rows += parsed(read(i), files.names[i], columns)
      else:
        at = layout.labels[i]
        rows.append(Row(read(i), None if at is None else layout.class_names[at], files.names[i]))
  return found, layout.told


def file(path: str, columns: Columns, **parts: object) -> list[Row]:
  """The rows of a single file: a table, JSON lines, or a text that `in_parts` cuts."""
  content = plain.read(path)
  if path.lower().endswith((*TABLES, *LINES)):
    return parsed(content, path, columns)
  return in_parts(content.replace("\r\n", "\n"), path, **parts)  # type: ignore[arg-type]


def parsed(content: str, name: str, columns: Columns) -> list[Row]:
  """The rows of a table with a header, or of lines that hold a JSON object each.

  Raises:
    BadInput: no such column, a row of another width, or a line that is no object; it is named.

  >>> parsed('text,label\\n"a, b",x\\n', "a.csv", Columns())
  [Row(text='a, b', label='x', place='a.csv, line 2')]
  """
  if name.lower().endswith(LINES):
    return [_object(line, f"{name}, line {i}", columns) for i, line in _filled(content)]
  found = columns.delimiter or cells.delimiter_of(content, ".")
  if len(found) != 1:
    raise BadInput(f"data.delimiter is one character, got {found!r}")
  reader = csv.reader(io.StringIO(content, newline=""), delimiter=found)
  rows: list[Row] = []
  header: list[str] = []
  try:
    for row in reader:
      if not row:
        continue
      place = f"{name}, line {reader.line_num}"
      if not header:
        header = row
        _check_names(name, header, columns)
      elif len(row) != len(header):
        raise BadInput(f"{place}: {len(row)} cells, the header has {len(header)}")
      else:
        rows.append(_row(dict(zip(header, row, strict=True)), place, columns))
  except csv.Error as error:
    raise BadInput(f"{name}, line {reader.line_num}: {error}") from error
  return rows


def in_parts(
  content: str,
  name: str,
  *,
  documents: str,
  heading: str = "",
  sections: Mapping[str, str] | None = None,
  label: str = "",
) -> list[Row]:
  r"""The texts of one file, cut at a separator, each with its heading or its section as label.

  Args:
    content: of the file.
    name: of it, for messages.
    documents: what separates its texts.
    heading: what ends the heading of a text, which is then none of the text; "": there are none.
    sections: the words, after a heading, that the first text of each section begins with.
    label: "heading", "section", or "" for no labels.

  Raises:
    BadInput: no separator, a text without a heading, or words that begin no text or several.

  >>> rows = in_parts("A:\nhi\n\nB:\nyes\n\nA:\nno", "x.txt", documents="\n\n", heading=":\n",
  ...                 sections={"one": "hi", "two": "no"}, label="section")
  >>> [(row.text, row.label) for row in rows]
  [('hi', 'one'), ('yes', 'one'), ('no', 'two')]
  """
  if not documents:
    raise BadInput(f"{name} is one text: data.documents says what separates its texts")
  if label not in ("", "heading", "section"):
    raise unknown("data.label of a text in parts", label, ("heading", "section", ""))
  if label and not {"heading": heading, "section": sections}[label]:
    raise BadInput(f"data.label={label!r} needs data.{'heading' if heading else 'sections'}")
  texts: list[tuple[str, str]] = []
  for i, piece in enumerate(cut([content], documents, each=""), 1):
    piece = piece.strip("\n")
    head, mark, rest = f"{piece}\n".partition(heading) if heading else ("", "", piece)
    if piece and heading and not mark:
      raise BadInput(f"{name}, text {i}: {piece[:40]!r} has no heading that ends in {heading!r}")
    texts += [(head, rest.strip("\n"))] if rest.strip("\n") else []
  begun = _begun(name, [text for _, text in texts], sections or {})
  rows, section = [], None
  for i, (head, text) in enumerate(texts):
    section = begun.get(i, section)
    rows.append(
      Row(text, {"heading": head, "section": section, "": None}[label], f"{name}, {i + 1}")
    )
  return rows


def _begun(name: str, texts: Sequence[str], sections: Mapping[str, str]) -> dict[int, str]:
  """The section that begins at each text where one does."""
  found: dict[int, str] = {}
  for section, words in sections.items():
    at = [i for i, text in enumerate(texts) if text.startswith(words)]
    if len(at) != 1:
      raise BadInput(f"{name}: {len(at)} texts begin with {words!r}, the first of {section!r}")
    found[at[0]] = section
  if sections and 0 not in found:
    raise BadInput(f"{name}: the first text is in no section of data.sections")
  return found


def _filled(content: str) -> list[tuple[int, str]]:
  """The lines that are not blank, with their numbers."""
  return [(i, line) for i, line in enumerate(content.split("\n"), 1) if line.strip()]


def _object(line: str, place: str, columns: Columns) -> Row:
  try:
    held = json.loads(line)
  except json.JSONDecodeError as error:
    raise BadInput(f"{place} is no JSON: {error}") from error
  if not isinstance(held, dict):
    raise BadInput(f"{place} is no JSON object, but {line[:40]}")
  _check_names(place, list(held), columns)
  return _row(held, place, columns)


def _check_names(place: str, names: Sequence[str], columns: Columns) -> None:
  for key in ("text", "label"):
    wanted = getattr(columns, key)
    if wanted and wanted not in names:
      cure = f"data.{key}=NAME of a column" + ("" if key == "text" else ", '' for no labels")
      raise BadInput(f"{place}: {unknown('column', wanted, names)}; {cure}")


def _row(held: Mapping[str, object], place: str, columns: Columns) -> Row:
  text, label = held[columns.text], held[columns.label] if columns.label else None
  if not isinstance(text, str):
    raise BadInput(f"{place}: {columns.text!r} is no text, but {text!r}")
  if isinstance(label, float | list | dict | bool):
    raise BadInput(f"{place}: {columns.label!r} is a word or a whole number, got {label!r}")
  return Row(text, None if label in (None, "") else str(label), place)


def is_single(path: str) -> bool:
  """Whether a path is a file that is no zip."""
  return pathlib.Path(path).is_file() and not zipfile.is_zipfile(path)
