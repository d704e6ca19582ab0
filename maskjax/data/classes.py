"""Some of a data set's classes: their examples, with labels counted anew."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import SupportsIndex

import numpy as np

from maskjax.data import fetched
from maskjax.data.source import Example, Source, content_of
from maskjax.errors import BadInput, unknown
from maskjax.record import Record

Classes = Sequence[str | int]


class OfClasses:
  """The examples of a source at some indices, their labels replaced by way of a table."""

  def __init__(self, source: Source, indices: np.ndarray, labels: Mapping[int, int]):
    self.source, self.indices, self.labels = source, indices, dict(labels)
    told = getattr(source, "captions", None)
    self.captions = None if told is None else [told[int(i)] for i in indices]

  def __len__(self) -> int:
    """Number of examples."""
    return len(self.indices)

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The example at `index`."""
    example = self.source[int(self.indices[index.__index__()])]
    if "label" not in example:
      return example
    return {**example, "label": self.labels[int(example["label"])]}

  def label_of(self, index: int) -> int | None:
    """The label at `index`; None where there is none."""
    old = labeller(self.source)(int(self.indices[index]))
    return None if old is None else self.labels[old]

  @property
  def reads_labels(self) -> bool:
    """Whether a label is known only once its example has been read."""
    return reads_labels(self.source)

  def content_of(self, index: int) -> bytes:
    """What changes where the example at `index` does."""
    return content_of(self.source, int(self.indices[index]))


def only(
  record: Record, splits: Mapping[str, Source], classes: Classes
) -> tuple[Record, dict[str, Source]]:
  """The examples of these classes, given by name or number, whose order is that of the new labels.

  Labels are asked of a source's `label_of(index)` where it has that, so that nothing is decoded.

  Raises:
    BadInput: no labels, an unknown class, one named twice, or a split that has none of them.
  """
  names = record.class_names
  if not names:
    raise BadInput("data.classes chooses among labels, and this data set has none")
  chosen = [_number(which, names) for which in classes]
  if not chosen or len(set(chosen)) < len(chosen):
    raise BadInput(f"data.classes are one or more different classes, got {tuple(classes)!r}")
  labels = {old: new for new, old in enumerate(chosen)}
  kept: dict[str, Source] = {}
  for split, source in splits.items():
    of = labeller(source)
    indices = np.array([i for i in range(len(source)) if of(i) in labels], np.int64)
    if not len(indices):
      raise BadInput(f"split {split!r} has no example of the classes {tuple(classes)!r}")
    kept[split] = OfClasses(source, indices, labels)
  sizes = {split: len(source) for split, source in kept.items()}
  names = tuple(names[old] for old in chosen)
  return dataclasses.replace(record, sizes=sizes, class_names=names), kept


def renumbered(
  record: Record, splits: Mapping[str, Source], names: Sequence[str]
) -> tuple[Record, dict[str, Source]]:
  """All examples, their labels those that classes of their names have among `names`.

  >>> record = Record("image", (8, 8, 1), {}, class_names=("dog", "cat"))
  >>> renumbered(record, {}, ("ant", "cat", "dog"))[0].class_names
  ('ant', 'cat', 'dog')
  """
  labels = {old: list(names).index(name) for old, name in enumerate(record.class_names)}
  record = dataclasses.replace(record, class_names=tuple(names))
  if all(old == new for old, new in labels.items()):
    return record, dict(splits)
  made = {s: OfClasses(source, np.arange(len(source)), labels) for s, source in splits.items()}
  return record, dict(made)


def labeller(source: Source) -> Callable[[int], int | None]:
  """The function from an index to a label, of which a source may know without its examples."""
  return getattr(source, "label_of", None) or (lambda index: source[index].get("label"))  # type: ignore[return-value]


def reads_labels(source: Source) -> bool:
  """Whether a source knows the label of an example only once it has read it."""
  return not hasattr(source, "label_of") or getattr(source, "reads_labels", False)


def spoken(record: Record, path: str) -> Record:
  """The record with words in place of the names of its classes, such as WordNet ids.

  Each line of the UTF-8 file `path` is a name, a space or tab, and its words, of which those before
  the first comma count: `n01440764 tench, Tinca tinca`.

  Raises:
    BadInput: no such file, or a class that is not in it.
  """
  try:
    with fetched.local(path) as place:
      lines = pathlib.Path(place).expanduser().read_text(encoding="utf-8").splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise BadInput(f"data.class_names={path!r} cannot be read: {error}") from error
  parts = (line.split(maxsplit=1) for line in lines)
  words = {part[0]: part[1].split(",")[0].strip() for part in parts if len(part) == 2}
  lost = [name for name in record.class_names if name not in words]
  if lost or not record.class_names:
    told = f"{len(lost)} of {len(record.class_names)} classes are not in {path}"
    raise BadInput(f"{told}, {lost[0]!r} for one" if lost else "data.class_names: no classes")
  return dataclasses.replace(record, class_names=tuple(words[n] for n in record.class_names))


def _number(which: str | int, names: Sequence[str]) -> int:
  if isinstance(which, int) and not isinstance(which, bool) and 0 <= which < len(names):
    return which
  if which not in names:
    raise unknown("class for data.classes", which, names)
  return names.index(which)
