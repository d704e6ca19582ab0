"""Text as characters: a file, or a folder of files, cut into windows of ids."""

import dataclasses
import gzip
import itertools
import logging
import math
import operator
import pathlib
import zlib
from collections.abc import Sequence
from fractions import Fraction
from numbers import Integral
from typing import SupportsIndex

import numpy as np

from maskjax.data.source import Example, Source
from maskjax.errors import BadInput
from maskjax.record import Record

UNKNOWN = "<unk>"  # longer than one character, so that no text contains it as one
SPLITS = ("train", "validation", "test")

_log = logging.getLogger("maskjax")


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
  """Windows of `length` ids, one after the other; the last is padded with id 0 and marked.

  Example i is `{"tokens": int32 [length], "valid": bool [length]}`, from character `i * length` on.
  """

  ids: np.ndarray
  length: int

  def __len__(self) -> int:
    """Number of windows, the padded one included."""
    return -(-len(self.ids) // self.length)

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The window at `index`."""
    i = inside(index, len(self))
    ids = self.ids[i * self.length : (i + 1) * self.length]
    tokens = np.zeros(self.length, np.int32)
    tokens[: len(ids)] = ids
    return {"tokens": tokens, "valid": np.arange(self.length) < len(ids)}


def open(
  path: str, *, length: int = 256, split: Sequence[float] = (0.9, 0.05, 0.05)
) -> tuple[Record, dict[str, Source]]:
  """Opens a text file (`.txt`, `.txt.gz`) or a folder of them as windows of character ids.

  The files of a folder, those of its subfolders too, are joined in the order of their names. The
  text is cut in order into train, validation and test (see `parts`; an empty part is left out).
  `record.vocabulary` holds the characters of the training part in order of code point; where other
  parts have characters beside these, a last entry `UNKNOWN` stands for all of them.

  Raises:
    BadInput: no such file, nothing in it, not UTF-8 (file and byte offset named), or an argument
      out of range.
  """
  whole("length", length, least=1)
  points = _points("".join(read(file) for file in _files(path)))
  if not points.size:
    raise BadInput(f"no characters in {path}")
  cut = parts(len(points), split)
  if "train" not in cut:
    raise BadInput(f"split {tuple(split)} of {len(points)} characters leaves none for training")
  known = np.unique(points[cut["train"]])
  # The smallest type: worker processes get copies of the whole text.
  ids = _ids(points, known).astype(np.min_scalar_type(len(known)))
  strange = {name: int((ids[part] == len(known)).sum()) for name, part in cut.items()}
  for name, count in strange.items():
    if count:
      _log.warning("%s: %d characters of %s are not in train: %s", path, count, name, UNKNOWN)
  vocabulary = tuple(map(chr, known)) + ((UNKNOWN,) if any(strange.values()) else ())
  sources: dict[str, Source] = {name: Windows(ids[part], length) for name, part in cut.items()}
  sizes = {name: len(source) for name, source in sources.items()}
  return Record("text", (length,), sizes, vocabulary=vocabulary), sources


def encode(text: str, vocabulary: Sequence[str]) -> np.ndarray:
  """The ids of a text's characters, int32 [len(text)].

  Raises:
    BadInput: a character is not in a vocabulary that has no `UNKNOWN`.

  >>> encode("abba", ("a", "b")).tolist()
  [0, 1, 1, 0]
  """
  known = _points("".join(entry for entry in vocabulary if entry != UNKNOWN))
  points = _points(text)
  ids = _ids(points, known)
  if UNKNOWN not in vocabulary and (ids == len(known)).any():
    first = int(np.argmax(ids == len(known)))
    raise BadInput(f"character {text[first]!r} at {first} is not among the {len(known)} known")
  return ids.astype(np.int32)


def decode(ids: Sequence[int] | np.ndarray, vocabulary: Sequence[str]) -> str:
  """The text that ids stand for.

  >>> decode([0, 1, 1, 0], ("a", "b"))
  'abba'
  """
  return "".join(vocabulary[i] for i in ids)


def read(path: str | pathlib.Path) -> str:
  """The text of one UTF-8 file, unzipped if its name ends in `.gz`; a byte order mark is left out.

  Raises:
    BadInput: no such file, a damaged one, or one that is not UTF-8 (the byte offset is named).
  """
  try:
    stored = pathlib.Path(path).read_bytes()
    raw = gzip.decompress(stored) if str(path).endswith(".gz") else stored
    return raw.decode("utf-8").removeprefix("\ufeff")
  except UnicodeDecodeError as error:
    raise BadInput(f"{path} is not UTF-8: byte {error.start} ({error.reason})") from error
  except (OSError, EOFError, zlib.error) as error:
    raise BadInput(f"cannot read {path}: {error}") from error


def parts(total: int, split: Sequence[float]) -> dict[str, slice]:
  r"""Cuts `total` things in order into train, validation and test; an empty part is left out.

  `split` holds three shares that add up to at most 1, or three whole numbers of things; what is
  left over at the end belongs to no part. Shares are read as the decimals that they are written as
  and cut at $\lfloor n \sum_{j \le i} s_j \rfloor$.

  Raises:
    BadInput: not three numbers, a negative one, or more than there is.

  >>> parts(10, (0.9, 0.05, 0.05))
  {'train': slice(0, 9, None), 'test': slice(9, 10, None)}
  >>> parts(10, (4, 2, 2))
  {'train': slice(0, 4, None), 'validation': slice(4, 6, None), 'test': slice(6, 8, None)}
  """
  number = lambda s: isinstance(s, int | float | np.number) and 0 <= s < math.inf
  three = isinstance(split, Sequence) and len(split) == len(SPLITS)
  if not (three and all(map(number, split))):
    raise BadInput(f"split is three numbers from 0 up ({', '.join(SPLITS)}), got {split!r}")
  counted = all(isinstance(s, Integral) for s in split)
  limit = total if counted else 1
  # Through their decimals, since binary shares such as 0.7, 0.2 and 0.1 miss 1.
  ends = list(itertools.accumulate(Fraction(str(s)) for s in split))
  if ends[-1] > limit:
    raise BadInput(f"split {tuple(split)} adds up to {float(ends[-1]):g}, there is {limit} to cut")
  stops = [int(end if counted else end * total) for end in ends]
  cut = zip(SPLITS, [0, *stops[:-1]], stops, strict=True)
  return {name: slice(start, stop) for name, start, stop in cut if start < stop}


def inside(index: SupportsIndex, size: int) -> int:
  """The index as an int; raises IndexError outside 0 to `size` - 1, which ends a plain `for`."""
  i = operator.index(index)
  if not 0 <= i < size:
    raise IndexError(f"example {i} of {size}")
  return i


def stray(name: str) -> bool:
  """Whether a relative file name is a system's own: a dot file, or in a folder of them.

  >>> stray("train/.DS_Store"), stray("__MACOSX/a.txt"), stray("train/a.txt")
  (True, True, False)
  """
  return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def whole(name: str, value: object, *, least: int) -> None:
  """Raises BadInput unless `value` is a whole number from `least` up."""
  if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
    raise BadInput(f"{name} is a whole number from {least} up, got {value!r}")


def _files(path: str) -> list[pathlib.Path]:
  root = pathlib.Path(path)
  if not root.exists():
    raise BadInput(f"no such file or folder: {path}")
  if not root.is_dir():
    return [root]
  names = sorted(file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file())
  texts = [name for name in names if name.endswith((".txt", ".txt.gz")) and not stray(name)]
  if not texts:
    raise BadInput(f"no .txt or .txt.gz file in {path}")
  return [root / name for name in texts]


def _points(text: str) -> np.ndarray:
  """Code points of a text, uint32; those of a `str` may include lone surrogates."""
  return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _ids(points: np.ndarray, known: np.ndarray) -> np.ndarray:
  """Index of each code point in `known`; of any other, the number of known ones."""
  table = np.full(0x110000, len(known), np.int32)
  table[known] = np.arange(len(known), dtype=np.int32)
  return table[points]
