"""Windows of the token ids of texts, and the vocabulary that gives the ids."""

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, SupportsIndex

import numpy as np

from maskjax.data import tokens
from maskjax.data.collocations import units
from maskjax.data.digests import digest
from maskjax.data.source import Example, Source, inside, whole
from maskjax.data.turns import Turns
from maskjax.errors import BadInput, unknown
from maskjax.record import Record

GROUPING = ("size", "least", "power")

_log = logging.getLogger("maskjax")


class Encoded(NamedTuple):
  """Texts as token ids.

  Attributes:
    record: with the vocabulary and the collocations, without a shape and sizes.
    pieces: of each split the ids of each text.
    begins: of each split which tokens of all its texts begin a unit; empty without collocations.
  """

  record: Record
  pieces: dict[str, list[np.ndarray]]
  begins: dict[str, np.ndarray]


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
      example["unit"] = unit_of(self.begins[start : start + self.length], self.length)
    return example


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
  """Record and windows of the texts of each split, of which "train" is one.

  Arguments are those of maskjax/data/text.py. With `turns` each text is a turn.
  """
  whole("length", length, least=1)
  whole("stride", stride, least=0)
  if stride > length:
    raise BadInput(f"stride {stride} leaves gaps between windows of length {length}")
  learning: dict[str, Any] = {"unit": unit, "vocabulary": vocabulary, "collocations": collocations}
  record, pieces, begins = encoded(called, texts, documents=documents, known=known, **learning)
  ids = {name: np.concatenate(parts) for name, parts in pieces.items()}
  end = record.vocabulary.index(tokens.END) if documents else None
  steps = dict.fromkeys(ids, length) | {"train": stride or length}
  held = {n: digested(part) for n, part in texts.items()}
  sources: dict[str, Source] = {
    n: Windows(ids[n], length, steps[n], end, begins.get(n), held[n]) for n in ids
  }
  if turns:
    sources = {n: _turns(called, n, ids[n], pieces[n], length, held[n]) for n in ids}
  sizes = {name: len(source) for name, source in sources.items()}
  return dataclasses.replace(record, shape=(length,), sizes=sizes), sources


def encoded(
  called: str,
  texts: Mapping[str, Sequence[str]],
  *,
  unit: str,
  vocabulary: int,
  documents: bool = False,
  collocations: Mapping[str, Any] | None = None,
  known: Record | None = None,
) -> Encoded:
  """Texts as token ids, by a vocabulary that those of "train" teach, or that of `known`.

  Arguments are those of `assemble`.
  """
  ends = (tokens.END,) * documents
  entries = known.vocabulary if known else _learned(texts["train"], unit, vocabulary, ends)
  if documents and tokens.END not in entries:
    raise BadInput(
      f"{called}: the text of the run had no documents, its vocabulary no {tokens.END}"
    )
  record = Record("text", (), {}, vocabulary=entries, unit=unit)
  # The smallest type: worker processes get copies of the whole text.
  dtype = np.min_scalar_type(len(entries))
  pieces = {
    name: [ids.astype(dtype) for ids in _encoded(called, name, part, record, ends)]
    for name, part in texts.items()
  }
  other = entries.index(tokens.UNKNOWN) if tokens.UNKNOWN in entries else -1
  strange = {name: sum(int((ids == other).sum()) for ids in p) for name, p in pieces.items()}
  for name, count in strange.items():
    if count:
      told = f"{count} {unit} of {name}", sum(map(len, pieces[name])), tokens.UNKNOWN
      _log.warning("%s: %s, of %d, are not in the vocabulary: %s", called, *told)
  if known is None and unit != "words" and not any(strange.values()):
    entries = entries[:-1]
  begins: dict[str, np.ndarray] = {}
  if collocations is not None:
    for name in collocations:
      if name not in GROUPING:
        raise unknown("data.collocations", name, GROUPING)
    kept = [tuple(gram.split(" ")) for gram in known.collocations] if known else []
    begins, grams = units(texts, tokens.encoder(record), len(ends), known=kept, **collocations)
    record = dataclasses.replace(record, collocations=tuple(" ".join(gram) for gram in grams))
  return Encoded(dataclasses.replace(record, vocabulary=entries), pieces, begins)


def digested(texts: Iterable[str]) -> str:
  """The digest of some texts."""
  return digest(text.encode(errors="surrogatepass") for text in texts)


def unit_of(begins: np.ndarray, length: int) -> np.ndarray:
  """The unit of each token of a window, 0 in the first, by which tokens begin one; then -1.

  >>> unit_of(np.array([False, True, False]), 4).tolist()
  [0, 1, 1, -1]
  """
  unit = np.full(length, -1, np.int32)
  unit[: len(begins)] = np.cumsum(begins) - begins[:1].sum()
  return unit


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
