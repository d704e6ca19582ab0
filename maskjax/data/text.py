"""Text: a file, or a folder of files, as tokens cut into windows."""

import dataclasses
import logging
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, SupportsIndex

import numpy as np

from maskjax.data import tokens
from maskjax.data.collocations import units
from maskjax.data.digests import digest
from maskjax.data.layout import lay_out
from maskjax.data.listing import listed
from maskjax.data.parts import parts
from maskjax.data.plain import decoded, gz, read
from maskjax.data.source import Example, Source, inside
from maskjax.data.splits import Chosen
from maskjax.data.stored import stored
from maskjax.data.turns import Turns
from maskjax.errors import BadInput, unknown
from maskjax.record import Record

# What plain text comes as; WikiText's files end in .tokens and .raw.
SUFFIXES = (".txt", ".txt.gz", ".text", ".tokens", ".raw")
GROUPING = ("size", "least", "power")

_log = logging.getLogger("maskjax")


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
  """Windows of `length` ids, `stride` ids apart; the last is padded with id 0 and marked.

  Example i is `{"tokens": int32 [length], "valid": bool [length]}`, from id `i * stride` on. With
  the id `end` of the token that ends a document there is also `"segments"`, int32 [length]: 0 in
  the first document of the window, 1 in the next, and so on. With `begins`, bool, which tokens
  begin a unit, there is "unit", int32 [length]: 0 in the first unit of the window, 1 in the next,
  -1 where it is padded.
  """

  ids: np.ndarray
  length: int
  stride: int
  end: int | None = None
  begins: np.ndarray | None = None
  digest: str = ""

  def __len__(self) -> int:
    """Number of windows, the padded one included."""
    return max(-(-(len(self.ids) - self.length) // self.stride), 0) + 1

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The window at `index`."""
    start = inside(index, len(self)) * self.stride
    ids = self.ids[start : start + self.length]
    window = np.zeros(self.length, np.int32)
    window[: len(ids)] = ids
    example: Example = {"tokens": window, "valid": np.arange(self.length) < len(ids)}
    if self.end is not None:
      ended = np.append(False, window[:-1] == self.end)
      example["segments"] = np.cumsum(ended, dtype=np.int32)
    if self.begins is not None:
      begins = self.begins[start : start + self.length]
      unit = np.full(self.length, -1, np.int32)
      unit[: len(ids)] = np.cumsum(begins) - begins[:1].sum()
      example["unit"] = unit
    return example


def open(
  path: str,
  *,
  unit: str = "characters",
  vocabulary: int = 4096,
  length: int = 256,
  stride: int = 0,
  split: Sequence[float] = (0.9, 0.05, 0.05),
  splits: Chosen = None,
  documents: str = "",
  collocations: Mapping[str, Any] | None = None,
  turns: str = "",
  known: Record | None = None,
) -> tuple[Record, dict[str, Source]]:
  """Opens a text file, or a folder or zip of them (see `SUFFIXES`), as windows of token ids.

  Files, those of subfolders too, are taken in the order of their names. Folders or files that are
  called so (`train/a.txt`, `valid.txt`, `wiki.test.tokens`) or that `splits` names make the splits,
  see `layout.lay_out`; `splits=()` if they only happen to be called so. Where nothing tells splits
  and `documents=""`, all are one text, cut by characters, in order, into train, validation and test
  (see `parts`; an empty part is left out). `documents="file"` makes each file a document, anything
  else is the separator of documents within files; then whole documents are cut into parts, and
  each is followed by the token `tokens.END`. Line ends of Windows are read as "\\n".

  `turns` is the separator of turns, which ends each but the last: windows are then prompts and
  answers, see `Turns`.

  `unit` ("characters", "words" or "bpe") is what a token is and `vocabulary` how many there are at
  most, those that mark something included (characters: all of the training part). Windows are
  `length` tokens long and lie side by side; `stride` has those of the training part start every so
  many tokens, so that they overlap. `record.vocabulary` holds what was learned from the training
  part (see `tokens.learn`), then `END` where there are documents, then `UNKNOWN` for all that is
  not known, for "words" always, for "characters" where other parts have such.

  With `collocations`, whose `size`, `least` and `power` are those of `collocations.units`, windows
  tell the "unit" of each token: a collocation of the training part, a word or a sign; with a `size`
  of 0 whole words.

  With the record `known` of the text that a run began with nothing is learned: its vocabulary is
  taken as it is.

  Args:
    path: a file, a folder or a zip.
    unit: what a token is: "characters", "words" or "bpe".
    vocabulary: number of token ids at most.
    length: tokens of a window.
    stride: tokens from one training window to the next; 0: `length`.
    split: shares or numbers of characters (documents) of the parts, where nothing tells splits.
    splits: which files make which split, see `layout.lay_out`.
    documents: "file", a separator within files, or "" for one text.
    collocations: arguments of `collocations.units`; None: no units.
    turns: separator of turns; "": none.
    known: the record of the text that a run began with; None: learn one.

  Returns:
    The record, and the windows of each split.

  Raises:
    BadInput: no such file, nothing in it, not UTF-8 (file and byte offset named), an argument out
      of range, or a token that is not in a known vocabulary.
  """
  if turns and documents:
    raise BadInput("a text is cut into turns or into documents: unset one of the two separators")
  by_file, told = _texts(path, splits)
  by_file = {name: [_lines(path, text) for text in texts] for name, texts in by_file.items()}
  if not any(any(texts) for texts in by_file.values()):
    raise BadInput(f"no characters in {path}")
  joined = {
    name: cut(texts, documents, each="file") if documents else "".join(texts)
    for name, texts in by_file.items()
  }
  held = {n: pieces for n, pieces in joined.items() if pieces} if told else _cut(joined, split)
  if "train" not in held:
    raise BadInput(f"{path} has no text for training, only for {', '.join(held)}")
  by_split = {name: cut_text(p, turns) if isinstance(p, str) else p for name, p in held.items()}
  return assemble(
    path,
    by_split,
    unit=unit,
    vocabulary=vocabulary,
    length=length,
    stride=stride,
    documents=bool(documents),
    collocations=collocations,
    turns=bool(turns),
    known=known,
  )


def assemble(
  called: str,
  texts: Mapping[str, Sequence[str]],
  *,
  unit: str = "characters",
  vocabulary: int = 4096,
  length: int = 256,
  stride: int = 0,
  documents: bool = False,
  collocations: Mapping[str, Any] | None = None,
  turns: bool = False,
  known: Record | None = None,
) -> tuple[Record, dict[str, Source]]:
  """Record and windows of the texts of each split, of which "train" is one; see `open`.

  With `turns` each text is a turn.
  """
  whole("length", length, least=1)
  whole("stride", stride, least=0)
  if stride > length:
    raise BadInput(f"stride {stride} leaves gaps between windows of length {length}")
  ends = (tokens.END,) * documents
  entries = known.vocabulary if known else _learned(texts["train"], unit, vocabulary, ends)
  if documents and tokens.END not in entries:
    raise BadInput(
      f"{called}: the text of the run had no documents, its vocabulary no {tokens.END}"
    )
  record = Record("text", (length,), {}, vocabulary=entries, unit=unit)
  # The smallest type: worker processes get copies of the whole text.
  dtype = np.min_scalar_type(len(entries))
  pieces = {name: _encoded(called, name, part, record, ends) for name, part in texts.items()}
  ids = {name: np.concatenate(parts).astype(dtype) for name, parts in pieces.items()}
  other = entries.index(tokens.UNKNOWN) if tokens.UNKNOWN in entries else -1
  strange = {name: int((part == other).sum()) for name, part in ids.items()}
  for name, count in strange.items():
    if count:
      told = f"{count} {unit} of {name}", len(ids[name]), tokens.UNKNOWN
      _log.warning("%s: %s, of %d, are not in the vocabulary: %s", called, *told)
  if known is None and unit != "words" and not any(strange.values()):
    entries = entries[:-1]
  begins: dict[str, np.ndarray] = {}
  if collocations is not None:
    for name in collocations:
      if name not in GROUPING:
        raise unknown("data.collocations", name, GROUPING)
    begins = units(texts, tokens.encoder(record), len(ends), **collocations)
  end = entries.index(tokens.END) if documents else None
  steps = dict.fromkeys(ids, length) | {"train": stride or length}
  held = {n: digest(t.encode(errors="surrogatepass") for t in part) for n, part in texts.items()}
  sources: dict[str, Source] = {
    n: Windows(ids[n], length, steps[n], end, begins.get(n), held[n]) for n in ids
  }
  if turns:
    sources = {n: _turns(called, n, ids[n], pieces[n], length, held[n]) for n in ids}
  sizes = {name: len(source) for name, source in sources.items()}
  return dataclasses.replace(record, sizes=sizes, vocabulary=entries), sources


def cut(texts: Sequence[str], documents: str, *, each: str) -> list[str]:
  r"""The documents in some texts: each text for the word `each`, else what a separator divides.

  Empty ones are left out.

  >>> cut(["a\n\nb", "c"], "\n\n", each="file")
  ['a', 'b', 'c']
  """
  if not isinstance(documents, str):
    raise BadInput(f"documents is {each!r} or a separator, got {documents!r}")
  divided = texts if documents == each else [d for text in texts for d in text.split(documents)]
  return [document for document in divided if document]


def cut_text(whole: str, separator: str) -> list[str]:
  r"""A text cut behind each `separator`, which stays; in one piece without one.

  >>> cut_text("a\n\nb\n\n", "\n\n")
  ['a\n\n', 'b\n\n']
  """
  if not separator:
    return [whole]
  pieces = [piece + separator for piece in whole.split(separator)]
  return [*pieces[:-1], *filter(None, [pieces[-1].removesuffix(separator)])]


def whole(name: str, value: object, *, least: int) -> None:
  """Raises BadInput unless `value` is a whole number from `least` up."""
  if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
    raise BadInput(f"{name} is a whole number from {least} up, got {value!r}")


def _lines(path: str, content: str) -> str:
  """The text with line ends of Windows as "\\n", which separators are written in."""
  if "\r\n" not in content:
    return content
  _log.info("%s: %d line ends of Windows are read as \\n", path, content.count("\r\n"))
  return content.replace("\r\n", "\n")


def _cut(
  joined: Mapping[str, Sequence[str] | str], split: Sequence[float]
) -> dict[str, Sequence[str] | str]:
  """All that there is, cut in order into parts."""
  (pieces,) = joined.values()
  split_at = parts(len(pieces), split)
  if "train" not in split_at:
    counted = f"{len(pieces)} {'characters' if isinstance(pieces, str) else 'documents'}"
    raise BadInput(f"split {tuple(split)} of {counted} leaves none for training")
  return {name: pieces[part] for name, part in split_at.items()}


def _texts(path: str, splits: Chosen) -> tuple[dict[str, list[str]], bool]:
  """The texts of the files by split, and whether the files tell splits; else all are "train"."""
  root = pathlib.Path(path)
  if root.is_file() and not zipfile.is_zipfile(root):
    return {"train": [read(root)]}, False
  listing = listed(path, SUFFIXES, "text files")
  layout = lay_out(listing, splits=splits, label="", by_file=True, by_hash=False)
  files = stored(listing, layout.labels)
  held = {
    name: [decoded(files[i][0], files.name(i), zipped=gz(files.names[i])) for i in indices]
    for name, indices in layout.splits.items()
  }
  return held, layout.told


def _learned(
  texts: Sequence[str], unit: str, vocabulary: int, ends: tuple[str, ...]
) -> tuple[str, ...]:
  """What is learned from the training part, then `ends`, then `UNKNOWN`."""
  marks = len(ends) + (unit == "words")
  if unit != "characters":
    whole("vocabulary", vocabulary, least=marks + (256 if unit == "bpe" else 1))
  return (*tokens.learn(texts, unit=unit, size=vocabulary - marks), *ends, tokens.UNKNOWN)


def _turns(
  called: str, name: str, ids: np.ndarray, pieces: Sequence[np.ndarray], length: int, digest: str
) -> Turns:
  whole("length", length, least=2)
  found = Turns(ids, np.cumsum([0, *map(len, pieces)]), length, digest)
  if not len(found):
    raise BadInput(f"{name} of {called} is a single turn: no answer in it")
  return found


def _encoded(
  called: str, name: str, texts: Sequence[str], record: Record, ends: Sequence[str]
) -> list[np.ndarray]:
  """Ids of each text, followed by those of `ends`."""
  encode = tokens.encoder(record)
  try:
    after = np.array([record.vocabulary.index(end) for end in ends], np.int32)
    return [np.concatenate([encode(text), after]) for text in texts]
  except BadInput as error:
    raise BadInput(f"{name} of {called}: {error}") from error
