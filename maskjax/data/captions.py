"""Captions of images: those that come with them, or templates over the class and the looks."""

import dataclasses
import re
import string
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Int

from maskjax.data import kinds, tokens
from maskjax.data.augment import peak
from maskjax.data.source import Example, Source, generator, whole
from maskjax.errors import BadInput, unknown
from maskjax.record import Record

TEMPLATES = (
  "a photo of a {name}.",
  "a {brightness} photo of a {name}.",
  "a picture of the {name}, mostly {colour}.",
  "a {contrast} image of a {name}.",
  "a {brightness} picture of a {name}, mostly {colour}.",
  "there is a {name} in this {contrast} {colour} photo.",
)
BRIGHTNESS = ("dark", "dim", "bright", "light")
CONTRAST = ("soft", "plain", "sharp")
# By hue, an eighth of the circle or two each, the first one centred at red.
HUES = ("red", "orange", "yellow", "green", "green", "blue", "blue", "purple", "pink")
COLOURS = ("grey", *dict.fromkeys(HUES))
WORDS = {"brightness": BRIGHTNESS, "colour": COLOURS, "contrast": CONTRAST}

_WORDNET = re.compile(r"n\d{8}")
_VOWEL = re.compile(r"\b([Aa]) (?=[aeiou])")


class Captioned:
  """Images with a "caption", int32 [length], -1 behind its last token.

  What is said of example i depends on (seed, i) alone, apart for each `stream`; so an image always
  has the same caption, however it is augmented after. Copies for worker processes begin empty.
  """

  def __init__(self, images: Source, say: Callable[[int, Example], str], encode: Any):
    self.images, self.text, self.encode = images, say, encode
    self._kept: dict[int, np.ndarray] = {}

  def __getstate__(self) -> dict[str, Any]:
    """All but the captions themselves."""
    return {**self.__dict__, "_kept": {}}

  def __len__(self) -> int:
    """Number of images."""
    return len(self.images)

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The example at `index` with its caption."""
    i, example = index.__index__(), self.images[index]
    if i not in self._kept:
      self._kept[i] = self.encode(self.text(i, example))
    return {**example, "caption": self._kept[i]}


def _by_template(
  index: int, example: Example, *, templates: Sequence[str], names: Sequence[str], seed: Any
) -> str:
  """A template over the class of an example and its looks, in words."""
  rng = generator(seed, index)
  template = templates[int(rng.integers(len(templates)))]
  name = names[int(example["label"])]
  return fill_in(template, name=name, **look(np.asarray(example["image"])))


def _given(index: int, example: Example, *, captions: Sequence[Sequence[str]], seed: Any) -> str:
  """One of the captions that came with an example."""
  own = captions[index]
  return own[int(generator(seed, index).integers(len(own)))]


class Encode:
  """The function from a text to its ids, int32 [length]; picklable."""

  def __init__(self, record: Record, length: int):
    self.record, self.length = record, length

  def __call__(self, text: str) -> Int[np.ndarray, "length"]:
    """Ids of the first `length` tokens, then -1."""
    return encode([text], self.record, self.length)[0]


def of(
  record: Record,
  splits: Mapping[str, Source],
  *,
  length: int = 16,
  templates: Sequence[str] = TEMPLATES,
  seed: int = 0,
) -> tuple[Record, dict[str, Source]]:
  """The record and splits of labelled images with a caption for each.

  Templates may name {name}, that of the class, and what `look` tells: {brightness}, {colour} and
  {contrast}. The record gets `length` as its `caption` and all words that templates can come to as
  its vocabulary, and then `tokens.UNKNOWN`, whatever the images are.

  Raises:
    BadInput: no labelled images, names that are ids of WordNet, no templates, or one that names
      something else.
  """
  kinds.expect(record, "data.captions", "image")
  if not record.class_names:
    raise BadInput("data.captions is for images with labels, and the data set has none")
  if any(map(_WORDNET.fullmatch, record.class_names)):
    raise BadInput(f"class {record.class_names[0]!r} says nothing in words: data.class_names=FILE")
  whole("captions.length", length, least=1)
  whole("captions.seed", seed, least=0)
  if not templates:
    raise BadInput("data.captions.templates is empty")
  named = [field for template in templates for field in fields(template)]
  for field in named:
    if field not in (*WORDS, "name"):
      raise unknown("field of a caption's template", field, (*WORDS, "name"))
  every = {"name": [spoken(name) for name in record.class_names], **WORDS}
  texts = [fill_in(t, **filled) for t in templates for filled in _fillings(fields(t), every)]
  known = tokens.learn(texts, unit="words", size=2**16)
  vocabulary = (*known, tokens.UNKNOWN)
  record = dataclasses.replace(record, vocabulary=vocabulary, unit="words", caption=length)
  turn, names = Encode(record, length), every["name"]
  sources: dict[str, Source] = {
    name: Captioned(
      source,
      partial(_by_template, templates=tuple(templates), names=names, seed=(seed, stream)),
      turn,
    )
    for stream, (name, source) in enumerate(sorted(splits.items()))
  }
  return record, sources


def read(
  record: Record,
  splits: Mapping[str, Source],
  train: str = "train",
  *,
  length: int = 16,
  seed: int = 0,
  unit: str = "words",
  vocabulary: int = 2**16,
  known: Record | None = None,
) -> tuple[Record, dict[str, Source]]:
  """The record and splits of images with the captions that came with them.

  Of several captions of an image one is drawn by the seed and its index. The record gets `length`
  as its `caption` and as its vocabulary at most `vocabulary` tokens, learned from all captions of
  the training split, and then `tokens.UNKNOWN`. Other splits without captions stay as they are.

  Args:
    record: of images.
    splits: sources of which some have `captions`, those of each example.
    train: the split whose captions are learned.
    length: tokens of a caption; what is longer is cut.
    seed: of the choice among several captions.
    unit: "words" or "bpe", see `tokens.learn`.
    vocabulary: tokens at most, the unknown one aside.
    known: the record of the data that a run began with, whose vocabulary is taken.

  Raises:
    BadInput: no images, or a training split without captions.
  """
  kinds.expect(record, "data.captions", "image")
  whole("captions.length", length, least=1)
  whole("captions.seed", seed, least=0)
  told = {name: getattr(source, "captions", None) or () for name, source in splits.items()}
  if not told[train]:
    raise BadInput(
      f"split {train!r} comes without captions: x.txt beside x.jpg, metadata.csv, .jsonl or "
      ".parquet, or without data.captions.column captions from templates"
    )
  texts = [text for each in told[train] for text in each]
  learn = lambda: (*tokens.learn(texts, unit=unit, size=vocabulary), tokens.UNKNOWN)
  entries = known.vocabulary if known else learn()
  record = dataclasses.replace(record, vocabulary=entries, unit=unit, caption=length)
  sources: dict[str, Source] = {}
  for stream, (name, source) in enumerate(sorted(splits.items())):
    say = partial(_given, captions=told[name], seed=(seed, stream))
    sources[name] = Captioned(source, say, Encode(record, length)) if told[name] else source
  return record, sources


def encode(texts: Sequence[str], record: Record, length: int) -> Int[np.ndarray, "b length"]:
  """Ids of the first `length` tokens of each text, then -1.

  >>> record = Record("image", (8, 8, 1), {}, vocabulary=("a", " cat"), unit="words")
  >>> encode(["a cat", "a"], record, 3).tolist()
  [[0, 1, -1], [0, -1, -1]]
  """
  turn = tokens.encoder(record)
  rows = [turn(text)[:length] for text in texts]
  padded = [np.pad(row, (0, length - len(row)), constant_values=-1) for row in rows]
  return np.stack(padded).astype(np.int32)


def decode(caption: Int[np.ndarray, "length"], record: Record) -> str:
  """The text of a caption."""
  return tokens.decode(caption[caption >= 0], record)


def look(image: np.ndarray) -> dict[str, str]:
  """What an image [h, w, c] as stored looks like, in words.

  "brightness": the quarter in which the mean lies. "contrast": whether its deviation is below an
  eighth of the range, below a quarter, or above. "colour": the hue of the mean of three channels,
  weighed by how far each pixel is from grey, or grey where there is little.

  >>> look(np.full((2, 2, 3), [200, 30, 30], np.uint8))
  {'brightness': 'dim', 'contrast': 'soft', 'colour': 'red'}
  """
  x = image.astype(np.float32) / peak(image.dtype)
  level = x.mean(axis=-1)
  bright = BRIGHTNESS[int(np.clip(4 * level.mean(), 0, 3))]
  contrast = CONTRAST[int(np.searchsorted((0.125, 0.25), level.std()))]
  return {"brightness": bright, "contrast": contrast, "colour": _colour(x)}


def fill_in(template: str, **words: str) -> str:
  """The template with its fields filled in, "a" as "an" before a vowel.

  >>> fill_in("a photo of a {name}.", name="airplane")
  'a photo of an airplane.'
  """
  return _VOWEL.sub(r"\1n ", template.format(**words))


def fields(template: str) -> list[str]:
  """The names of a template's fields, each once.

  >>> fields("a {colour} {name}.")
  ['colour', 'name']
  """
  found = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
  return list(dict.fromkeys(found))


def spoken(name: str) -> str:
  """The name of a class as it is said: no underscores."""
  return name.replace("_", " ")


def _fillings(names: Sequence[str], words: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
  """Fillings in which each word of each field occurs, and next to each first letter of others."""
  first = {name: words[name][0] for name in words}
  return [{**first, name: word} for name in names for word in words[name]] or [first]


def _colour(x: np.ndarray) -> str:
  if x.shape[-1] != 3:
    return "grey"
  angle = 2 * np.pi * np.arange(3) / 3
  around = x @ np.exp(1j * angle)  # how far from grey, and towards which hue
  mean = around.mean()
  if np.abs(mean) < 0.04:
    return "grey"
  turn = np.angle(mean) / (2 * np.pi) % 1
  return HUES[int(turn * len(HUES) + 0.5) % len(HUES)]
