"""Labelled text: whole texts with a class each, as token ids."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np

from maskjax.data import class_folders, labelled_rows
from maskjax.data import splits as by
from maskjax.data.labelled_rows import Columns, Row
from maskjax.data.parts import parts
from maskjax.data.source import Example, Source, inside, whole
from maskjax.data.windows import digested, encoded, unit_of
from maskjax.errors import BadInput
from maskjax.record import Record

_log = logging.getLogger("maskjax")


@dataclasses.dataclass(frozen=True, eq=False)
class Texts:
  """Texts of at most `length` ids, padded with id 0 and marked.

  Example i is `{"tokens": int32 [length], "valid": bool [length], "label": int}`, without "label"
  where the texts have none; with `begins`, which tokens of each text begin a unit, there is "unit",
  int32 [length], as in `windows.Windows`.
  """

  ids: Sequence[np.ndarray]
  length: int
  labels: np.ndarray | None = None
  begins: Sequence[np.ndarray] | None = None
  digest: str = ""

  def __len__(self) -> int:
    """Number of texts."""
    return len(self.ids)

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The text at `index`."""
    i = inside(index, len(self))
    ids = self.ids[i][: self.length]
    window = np.zeros(self.length, np.int32)
    window[: len(ids)] = ids
    example: Example = {"tokens": window, "valid": np.arange(self.length) < len(ids)}
    if self.labels is not None:
      example["label"] = int(self.labels[i])
    if self.begins is not None:
      example["unit"] = unit_of(self.begins[i][: self.length], self.length)
    return example

  def label_of(self, index: int) -> int | None:
    """The label at `index`; None where there is none."""
    return None if self.labels is None else int(self.labels[index])

  def content_of(self, index: int) -> bytes:
    """What changes where the text at `index` does."""
    return np.asarray(self.ids[index], "<u4").tobytes()


def open(
  path: str,
  *,
  text: str = "text",
  label: str | None = None,
  documents: str = "",
  heading: str = "",
  sections: Mapping[str, str] | None = None,
  least: int = 1,
  split: Sequence[float] = (),
  splits: by.Chosen = None,
  unit: str = "words",
  vocabulary: int = 4096,
  length: int = 128,
  collocations: Mapping[str, Any] | None = None,
  delimiter: str = "",
  known: Record | None = None,
) -> tuple[Record, dict[str, Source]]:
  r"""Opens texts with labels: a table, lines of JSON, a folder, or one file cut into texts.

  - `x.csv`, `x.tsv`, `x.jsonl` (zipped by gzip too), or a folder or zip of them: a row a text, its
    columns "text" and "label". Files that are called after splits, train.csv say, are these.
  - A folder or zip of text files: `split/class/x.txt` or `class/x.txt`, as images lie.
  - A text file: `documents` separates its texts. With `heading` each begins with one, which is cut
    off; labels are these headings, or `sections`, told by the words with which the first text of
    each begins.

  Where nothing tells splits, `split` cuts the texts of each class in order into train, validation
  and test; without it a tenth of each class, by a hash of the texts, is the test split. Classes are
  in the order of their names, numbers in that of their values. A text longer than `length` tokens
  is cut, which is counted in the log; one shorter than `least` characters is left out, likewise.

  Args:
    path: the file, folder or zip.
    text: the column of the texts.
    label: the column of the labels, "label" unless said; of folders "folder", "inner" or a
      pattern, see `layout.lay_out`; of one file "heading" or "section"; "" for no labels.
    documents: what separates the texts of one file.
    heading: what ends the heading of a text, such as ":\n".
    sections: name → the first words of its first text.
    least: characters that a text has at least.
    split: shares or numbers of texts of the parts of each class, where nothing tells splits.
    splits: which files make which split, see `layout.lay_out`.
    unit: what a token is: "characters", "words" or "bpe".
    vocabulary: number of token ids at most.
    length: tokens of a text.
    collocations: arguments of `collocations.units`; None: no units.
    delimiter: between cells of a table; "": found out.
    known: the record of the text that a run began with; None: learn one.

  Returns:
    The record, and the texts of each split.

  Raises:
    BadInput: nothing to read, no such column, some texts of a split without a label, or what can be
      read in two ways; the key that settles it is named.
  """
  whole("length", length, least=1)
  whole("least", least, least=1)
  columns = Columns(text, "label" if label is None else label, delimiter)
  if labelled_rows.is_single(path):
    rule = "" if label is None else label
    own = dict(documents=documents, heading=heading, sections=sections, label=rule)
    rows, told = {"train": labelled_rows.file(path, columns, **own)}, False
  else:
    rows, told = labelled_rows.folder(path, columns, "folder" if label is None else label, splits)
  rows = {name: _long(path, name, part, least) for name, part in rows.items()}
  rows = {name: part for name, part in (rows if told else _cut(rows, split)).items() if part}
  if "train" not in rows:
    raise BadInput(f"{path} has no text for training, only for {', '.join(rows) or 'nothing'}")
  learning = {"unit": unit, "vocabulary": vocabulary, "collocations": collocations, "known": known}
  record, sources = _sources(path, rows, length, learning)
  sizes = {name: len(source) for name, source in sources.items()}
  names = _names(rows)
  _tell(rows, names)
  return dataclasses.replace(record, shape=(length,), sizes=sizes, class_names=names), sources


def _sources(
  path: str, rows: Mapping[str, list[Row]], length: int, learning: Mapping[str, Any]
) -> tuple[Record, dict[str, Source]]:
  """The texts of each split as token ids, and the record of their vocabulary."""
  number = {name: i for i, name in enumerate(_names(rows))}
  texts = {name: [row.text for row in part] for name, part in rows.items()}
  record, pieces, begins = encoded(path, texts, **learning)
  sources: dict[str, Source] = {}
  for name, part in rows.items():
    sizes = [len(ids) for ids in pieces[name]]
    if long := sum(size > length for size in sizes):
      told = "%s: %d of %d texts of %s are longer than data.length=%d tokens and cut"
      _log.warning(told, path, long, len(sizes), name, length)
    labels = [number[row.label] for row in part if row.label is not None]
    marks = np.split(begins[name], np.cumsum(sizes)[:-1]) if begins else None
    held = np.array(labels) if labels else None
    sources[name] = Texts(pieces[name], length, held, marks, digested(texts[name]))
  return record, sources


def _long(path: str, name: str, rows: list[Row], least: int) -> list[Row]:
  """The rows whose texts are long enough; how many are not is told."""
  kept = [row for row in rows if len(row.text) >= least]
  if short := len(rows) - len(kept):
    told = f"{path}: {short} of {len(rows)} texts of {name} are shorter than {least} characters"
    (_log.info if least > 1 else _log.warning)("%s, left out", told)
  return kept


def _cut(rows: Mapping[str, list[Row]], split: Sequence[float]) -> dict[str, list[Row]]:
  """All rows, cut into splits class by class."""
  (every,) = rows.values()
  labels = [row.label for row in every]
  if not split:
    held = by.by_hash_of_classes([row.text for row in every], labels)
    _log.info("nothing tells splits: split by a hash of the texts")
    return {name: [every[i] for i in indices] for name, indices in held.items()}
  found: dict[str, list[int]] = {}
  for label in dict.fromkeys(labels):
    own = [i for i, one in enumerate(labels) if one == label]
    for name, part in parts(len(own), split).items():
      found.setdefault(name, []).extend(own[part])
  order = [name for name in by.SPLITS if name in found]
  return {name: [every[i] for i in sorted(found[name])] for name in order}


def _names(rows: Mapping[str, list[Row]]) -> tuple[str, ...]:
  """The names of all classes in order.

  Raises:
    BadInput: a split of which some texts have no label.
  """
  for name, part in rows.items():
    without = [row.place for row in part if row.label is None]
    if without and len(without) < len(part):
      told = f"{len(without)} of {len(part)} texts of {name!r} have no label"
      raise BadInput(f"{told}, {without[0]} for one: data.label='' reads all without")
  found = {row.label for part in rows.values() for row in part if row.label is not None}
  numbers = all(name.isdecimal() for name in found)
  names = sorted(found, key=lambda name: (int(name) if numbers else 0, name))
  return tuple(names)


def _tell(rows: Mapping[str, list[Row]], names: Sequence[str]) -> None:
  """Logs how many texts of each class every split has."""
  every = [row.label for part in rows.values() for row in part]
  ends = np.cumsum([0, *map(len, rows.values())])
  held = {name: range(a, b) for name, a, b in zip(rows, ends, ends[1:], strict=False)}
  class_folders.tell(held, every, names)
