"""Text: a file, or a folder of files, as tokens cut into windows."""

import logging
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from maskjax.data.layout import lay_out
from maskjax.data.listing import listed
from maskjax.data.parts import parts
from maskjax.data.plain import decoded, gz, read
from maskjax.data.source import Source
from maskjax.data.splits import Chosen
from maskjax.data.stored import stored
from maskjax.data.windows import assemble
from maskjax.errors import BadInput
from maskjax.record import Record

# What plain text comes as; WikiText's files end in .tokens and .raw.
SUFFIXES = (".txt", ".txt.gz", ".text", ".tokens", ".raw")

_log = logging.getLogger("maskjax")


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
  suffixes: Sequence[str] = SUFFIXES,
  known: Record | None = None,
) -> tuple[Record, dict[str, Source]]:
  """Opens a text file, or a folder or zip of them, as windows of token ids.

  Files, those of subfolders too, are taken in the order of their names. Folders or files that are
  called so (`train/a.txt`, `valid.txt`, `wiki.test.tokens`) or that `splits` names make the splits,
  see `layout.lay_out`; `splits=()` if they only happen to be called so. Where nothing tells splits
  and `documents=""`, all are one text, cut by characters, in order, into train, validation and test
  (see `parts`; an empty part is left out). `documents="file"` makes each file a document, anything
  else is the separator of documents within files; then whole documents are cut into parts, and
  each is followed by the token `tokens.END`. Line ends of Windows are read as "\\n".

  `turns` is the separator of turns, which ends each but the last: windows are then prompts and
  answers, see maskjax/data/turns.py.

  `unit` ("characters", "words" or "bpe") is what a token is and `vocabulary` how many there are at
  most, those that mark something included (characters: all of the training part). Windows are
  `length` tokens long and lie side by side; `stride` has those of the training part start every so
  many tokens, so that they overlap. `record.vocabulary` holds what was learned from the training
  part (see `tokens.learn`), then `END` where there are documents, then `UNKNOWN` for all that is
  not known, for "words" always, for "characters" where other parts have such.

  With `collocations`, whose `size`, `least` and `power` are those of `collocations.units`, windows
  tell the "unit" of each token: a collocation of the training part, a word or a sign; with a `size`
  of 0 whole words.

  With the record `known` of the text that a run began with nothing is learned: its vocabulary and
  its collocations are taken as they are.

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
    suffixes: ends of the names of the files that are read; "" is that of all files.
    known: the record of the text that a run began with; None: learn one.

  Returns:
    The record, and the windows of each split.

  Raises:
    BadInput: no such file, nothing in it, not UTF-8 (file and byte offset named), an argument out
      of range, or a token that is not in a known vocabulary.
  """
  if turns and documents:
    raise BadInput("a text is cut into turns or into documents: unset one of the two separators")
  held = _held(path, split, splits, documents, tuple(suffixes))
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


def _held(
  path: str, split: Sequence[float], splits: Chosen, documents: str, suffixes: tuple[str, ...]
) -> dict[str, Sequence[str] | str]:
  """The text of each split, or its documents."""
  by_file, told = _texts(path, splits, suffixes)
  by_file = {name: [_lines(path, text) for text in texts] for name, texts in by_file.items()}
  if not any(any(texts) for texts in by_file.values()):
    raise BadInput(f"no characters in {path}")
  joined: dict[str, Sequence[str] | str] = {
    name: cut(texts, documents, each="file") if documents else "".join(texts)
    for name, texts in by_file.items()
  }
  held = {n: pieces for n, pieces in joined.items() if pieces} if told else _cut(joined, split)
  if "train" not in held:
    raise BadInput(f"{path} has no text for training, only for {', '.join(held)}")
  return held


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


def _texts(
  path: str, splits: Chosen, suffixes: tuple[str, ...]
) -> tuple[dict[str, list[str]], bool]:
  """The texts of the files by split, and whether the files tell splits; else all are "train"."""
  root = pathlib.Path(path)
  if root.is_file() and not zipfile.is_zipfile(root):
    return {"train": [read(root)]}, False
  listing = listed(path, suffixes, "text files", key="data.suffixes")
  layout = lay_out(listing, splits=splits, label="", by_file=True, by_hash=False)
  files = stored(listing, layout.labels)
  held = {
    name: [decoded(files[i][0], files.name(i), zipped=gz(files.names[i])) for i in indices]
    for name, indices in layout.splits.items()
  }
  return held, layout.told
