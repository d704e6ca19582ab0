"""What the ids of a text stand for: characters, words, or pieces of words; there and back again."""

import functools
import itertools
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from maskjax.errors import BadInput, unknown
from maskjax.record import Record

# Longer than a character, and `words` takes them apart: no text contains one as a token.
UNKNOWN = "<unk>"
END = "<eos>"
UNITS = ("characters", "words", "bpe")
_LONGEST = 1024  # bytes inside of which "bpe" merges; words of any language are shorter

# A word or a run of signs, with one space before it, or the white space left over.
_WORD = re.compile(r" ?\w+(?:['\u2019]\w+)*| ?[^\w\s]+|\s+?(?= ?\S|\Z)")
# How a token starts that goes on with a word: a letter, a digit, an apostrophe, part of a letter.
_INSIDE = re.compile(r"[\w'\u2019\udc80-\udcff]")


def words(text: str) -> list[str]:
  r"""Cuts a text into words and runs of signs, each with one space before it, and white space.

  Joined they are the text. Scripts without spaces give words as long as their clauses.

  >>> words("Don't stop,  he said.\n\n")
  ["Don't", ' stop', ',', ' ', ' he', ' said', '.', '\n\n']
  """
  return _WORD.findall(text)


def learn(texts: Sequence[str], *, unit: str, size: int) -> tuple[str, ...]:
  """The vocabulary of some texts, without `UNKNOWN` and `END`; the same texts give the same.

  Of characters all, in order of code point; of words the `size` most frequent, in that order, ties
  by code point; for "bpe" the 256 bytes, then merges of the most frequent pair inside words that
  occurs at least twice, until there are `size`. Bytes that make no whole character are written as
  Python's `surrogateescape` does. Sennrich et al., 2016, "Neural machine translation of rare words
  with subword units", section 3.2, on bytes as in Radford et al., 2019, "Language models are
  unsupervised multitask learners", section 2.2.

  >>> learn(["go to be to be"], unit="words", size=2)
  (' be', ' to')
  """
  if unit == "characters":
    return tuple(sorted(set().union(*texts)))
  if unit == "words":
    counts = Counter(itertools.chain.from_iterable(map(words, texts)))
    return tuple(sorted(counts, key=lambda word: (-counts[word], word))[:size])
  if unit != "bpe":
    raise unknown("data.unit", unit, UNITS)
  # The tokenizers see a byte as the character of its number, and so know nothing of Unicode.
  trainer = BpeTrainer(
    vocab_size=size,
    min_frequency=2,
    show_progress=False,
    initial_alphabet=list(map(chr, range(256))),
  )
  tokenizer = Tokenizer(BPE())
  parts = (part for text in texts for word in words(text) for part in _short(_latin(word)))
  tokenizer.train_from_iterator(parts, trainer)
  pieces = tokenizer.get_vocab()
  return tuple(_text(piece.encode("latin-1")) for piece in sorted(pieces, key=pieces.__getitem__))


def encode(text: str, record: Record) -> np.ndarray:
  """The ids of a text, int32 [n], by the record alone.

  For "bpe" every word starts as bytes, and of all neighbours those two are joined, again and again,
  whose joint piece has the lowest id: no list of merges is needed. Nothing is joined across each
  1024th byte of a word.

  Raises:
    BadInput: the record is of no text, or a token is not in a vocabulary that has no `UNKNOWN`.

  >>> encode("abba", Record("text", (4,), {}, vocabulary=("a", "b"), unit="characters")).tolist()
  [0, 1, 1, 0]
  """
  return encoder(record)(text)


def encoder(record: Record) -> Callable[[str], np.ndarray]:
  """The function `text -> ids` of a record: `encode` for many texts."""
  vocabulary = record.vocabulary
  other = vocabulary.index(UNKNOWN) if UNKNOWN in vocabulary else None
  look_up = _look_up(record.unit, vocabulary)

  def encode(text: str) -> np.ndarray:
    ids = look_up(text)
    strange = ids < 0
    if other is None and strange.any():
      first = int(strange.argmax())
      token = text[first] if record.unit == "characters" else words(text)[first]
      told = f"{token!r}, token {first} of the text, is not in the vocabulary"
      raise BadInput(f"{told} of {len(vocabulary)}")
    return ids if other is None else np.where(strange, np.int32(other), ids)

  return encode


def decode(ids: Sequence[int] | np.ndarray, record: Record) -> str:
  """The text that ids stand for; bytes that make no character, which "bpe" can give, are U+FFFD.

  Raises:
    BadInput: an id is outside the vocabulary.

  >>> decode([0, 1, 1, 0], Record("text", (4,), {}, vocabulary=("a", "b"), unit="characters"))
  'abba'
  """
  size = len(record.vocabulary)
  if outside := [int(i) for i in ids if not 0 <= i < size]:
    raise BadInput(f"token id {outside[0]} is not in the vocabulary of {size}")
  return _bytes("".join(record.vocabulary[i] for i in ids)).decode("utf-8", "replace")


def characters(record: Record) -> np.ndarray:
  """How many characters each token stands for, int64 [vocabulary]; over a text they add up exactly.

  Of a character whose bytes lie in several tokens the first byte counts. `END` counts 0, `UNKNOWN`
  counts 1, which is a lower bound where the unit is words.

  >>> characters(Record("text", (4,), {}, vocabulary=(" the", "é", END), unit="words")).tolist()
  [4, 1, 0]
  """
  special = {END: b"", UNKNOWN: b"?"}
  pieces = [special.get(entry, _bytes(entry)) for entry in record.vocabulary]
  return np.array([sum(b & 0xC0 != 0x80 for b in piece) for piece in pieces], np.int64)


def word_starts(record: Record) -> np.ndarray:
  r"""Which tokens begin a word, bool [vocabulary]: those that open with a space or a sign.

  Every token of the unit "words" does. Of the others a token alone does not tell whether it begins
  a word right after a line end or a bracket: it counts as inside, so such a word is one with these.

  >>> vocabulary = (" th", "e", "'s", ",", "\n")
  >>> word_starts(Record("text", (4,), {}, vocabulary=vocabulary, unit="bpe")).tolist()
  [True, False, False, True, True]
  """
  whole = record.unit == "words"
  return np.array([whole or not _INSIDE.match(entry) for entry in record.vocabulary], bool)


@functools.lru_cache(maxsize=4)
def _look_up(unit: str, vocabulary: tuple[str, ...]) -> Callable[[str], np.ndarray]:
  """The function from a text to the ids of its tokens, -1 for one that is not known."""
  kinds = {"characters": _by_character, "words": _by_word, "bpe": _by_piece}
  if unit not in kinds:
    raise unknown("unit of text", unit, kinds)
  known = {entry: i for i, entry in enumerate(vocabulary) if entry not in (UNKNOWN, END)}
  return kinds[unit](known)


def _by_character(known: Mapping[str, int]) -> Callable[[str], np.ndarray]:
  table = np.full(0x110000, -1, np.int32)
  table[_points("".join(known))] = list(known.values())
  return lambda text: table[_points(text)]


def _by_word(known: Mapping[str, int]) -> Callable[[str], np.ndarray]:
  return lambda text: np.fromiter((known.get(word, -1) for word in words(text)), np.int32)


def _by_piece(known: Mapping[str, int]) -> Callable[[str], np.ndarray]:
  ids = {_bytes(entry).decode("latin-1"): i for entry, i in known.items()}
  merges = [
    (piece[:k], piece[k:])
    for piece in sorted(ids, key=ids.__getitem__)
    for k in range(1, len(piece))
    if piece[:k] in ids and piece[k:] in ids
  ]
  model = BPE(ids, merges)

  @functools.lru_cache(maxsize=2**16)
  def pieces(word: str) -> list[int]:
    return [token.id for part in _short(_latin(word)) for token in model.tokenize(part)]

  return lambda text: np.fromiter(itertools.chain.from_iterable(map(pieces, words(text))), np.int32)


def _points(text: str) -> np.ndarray:
  """Code points of a text, uint32; those of a `str` may include lone surrogates."""
  return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _short(word: str) -> list[str]:
  """A word in parts of at most `_LONGEST` bytes: merging takes time that grows with its square."""
  return [word[i : i + _LONGEST] for i in range(0, len(word), _LONGEST)]


def _latin(word: str) -> str:
  try:
    return word.encode().decode("latin-1")
  except UnicodeEncodeError as error:
    raise BadInput(f"{word[error.start]!r} in {word!r} is half a surrogate pair") from error


def _bytes(entry: str) -> bytes:
  return entry.encode("utf-8", "surrogateescape")


def _text(piece: bytes) -> str:
  return piece.decode("utf-8", "surrogateescape")
