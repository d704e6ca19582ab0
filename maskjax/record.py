"""What a data set says of itself; models, losses and pictures take sizes and classes from here."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

# What the ids, labels and axes of a run mean: weights are of no use where one of these differs.
MEANING = ("kind", "shape", "class_names", "vocabulary", "unit", "rate", "columns", "caption")
# What is measured over the examples: the statistics of a run's first launch are kept.
STATISTICS = ("mean", "std", "low", "high")
# What else of the examples a run is made for.
COUNTED = ("sizes", "peak")
# What tells that something changed, where nothing else says what.
DIGESTS = ("labels", "examples")
# Records of before may have none of these: digests of any data, columns of series.
_LATER = (*DIGESTS, "columns")


@dataclasses.dataclass(frozen=True)
class Record:
  """The facts about a data set that the rest of a run follows.

  Attributes:
    kind: what an example is, the name of one of `maskjax.data.kinds`, or "mypackage.module:name".
    shape: shape of one example as the model gets it, for images (height, width, channels), for
      videos (frames, height, width, channels), for the row of a table (columns, 1), for a graph
      (nodes, features of each), for a mixture that of what is asked for, (sources, samples).
    sizes: number of examples by split, after bad files were left out.
    class_names: names of the classes in label order; empty without labels.
    mean: mean of each channel over the training split, in units of the stored range mapped to
      [0, 1] (of a series: in the units of its file).
    std: deviation of each channel, likewise, never zero.
    vocabulary: what each token id of a text stands for, in order of id; see `data.tokens`.
    caption: how many tokens of `vocabulary` describe an image, -1 behind the last; 0 for none.
    rate: samples a second of audio, mixtures, and of that which an image is a spectrogram of,
      (time, frequency, 1); 0 for others.
    unit: what a token of text is: "characters", "words" or "bpe"; empty where there is none.
    columns: names of the columns of a table, of the channels of a series.
    low: smallest value of each column that was there to learn from, in the units of its file: a
      table's 0. Of spectrograms one of about the smallest, which pictures show as dark.
    high: largest, likewise: its 1.
    collocations: words of each of a text's collocations, which are masked together; see
      `data.collocations`.
    peak: the stored value of images and videos that stands for 1: 255 or 65535 of integers, 1 of
      floats.
    labels: a digest of the labels of each split in the order of its examples, of sources that tell
      them.
    examples: likewise a digest of what the examples hold; see `data.digests`.
  """

  kind: str
  shape: tuple[int, ...]
  sizes: dict[str, int]
  class_names: tuple[str, ...] = ()
  mean: tuple[float, ...] = ()
  std: tuple[float, ...] = ()
  vocabulary: tuple[str, ...] = ()
  rate: int = 0
  unit: str = ""
  columns: tuple[str, ...] = ()
  low: tuple[float, ...] = ()
  high: tuple[float, ...] = ()
  caption: int = 0
  collocations: tuple[str, ...] = ()
  peak: float = 255.0
  labels: dict[str, str] = dataclasses.field(default_factory=dict)
  examples: dict[str, str] = dataclasses.field(default_factory=dict)

  @property
  def classes(self) -> int:
    """Number of classes; 0 without labels."""
    return len(self.class_names)


def compared(was: Record, fields: Sequence[str] = MEANING) -> list[str]:
  """Those of the fields that a record of a first launch has: it may be older than some.

  >>> compared(Record("series", (8, 2), {"train": 4}), ["shape", "columns"])
  ['shape']
  """
  return [name for name in fields if name not in _LATER or getattr(was, name)]


def difference(was: Record, now: Record, fields: Sequence[str] = MEANING) -> str:
  """The first difference between two records, in words; empty where there is none.

  Numbers are the same where rounding could have made them differ.

  Args:
    was: a record of before.
    now: another one.
    fields: the names of those that are compared.

  >>> old = Record("image", (8, 8, 1), {"train": 4}, class_names=("cat", "dog"))
  >>> difference(old, dataclasses.replace(old, class_names=("dog", "cat")))
  "class_names[0] was 'cat', is now 'dog'"
  >>> difference(old, dataclasses.replace(old, sizes={"train": 5}), ["sizes"])
  'sizes.train was 4, is now 5'
  """
  return next(differences(was, now, fields), "")


def differences(was: Record, now: Record, fields: Sequence[str]) -> Iterator[str]:
  """All differences between two records, as `difference` tells the first.

  >>> old = Record("image", (8, 8, 1), {"train": 4, "test": 2})
  >>> new = dataclasses.replace(old, peak=1.0, sizes={"train": 4})
  >>> list(differences(old, new, ["sizes", "peak"]))
  ['sizes.test was 2, is now absent', 'peak was 255.0, is now 1.0']
  """
  for name in fields:
    before, after = _parts(name, getattr(was, name)), _parts(name, getattr(now, name))
    show = lambda parts, key: repr(parts[key]) if key in parts else "absent"
    for key in {**before, **after}:
      if key not in before or key not in after or not _same(before[key], after[key]):
        yield f"{key} was {show(before, key)}, is now {show(after, key)}"


def _parts(name: str, value: Any) -> dict[str, Any]:
  """The values in a field, each under the name that it has there."""
  if isinstance(value, dict):
    return {f"{name}.{key}": part for key, part in value.items()}
  if isinstance(value, tuple):
    return {f"{name}[{i}]": part for i, part in enumerate(value)}
  return {name: value}


def _same(a: Any, b: Any) -> bool:
  if isinstance(a, float) and isinstance(b, float | int):
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12)
  return bool(a == b)
