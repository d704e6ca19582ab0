"""Images or clips in an npz file of numpy arrays: any size and channels, 8 or 16 bits or floats."""

from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsIndex

import numpy as np

from maskjax.data import augment, npz
from maskjax.data import named_arrays as named
from maskjax.data.source import Example, Source
from maskjax.data.splits import by_hash_of_classes
from maskjax.errors import BadInput
from maskjax.record import Record


class Reading(NamedTuple):
  """How the arrays of a file become examples.

  Attributes:
    axes: what each axis of the images is, of n, t, h, w and c.
    peak: the value of floats that stands for 1.
    classes: the label in the file of each class, in order; None where these are the numbers.
  """

  axes: str
  peak: float = 1.0
  classes: tuple[int, ...] | None = None

  def images(self, found: np.ndarray) -> np.ndarray:
    """The images as [n, (t,) h, w, c]."""
    order = [axis for axis in "nthwc" if axis in self.axes]
    out = found.transpose([self.axes.index(axis) for axis in order])
    out = out if "c" in self.axes else out[..., None]
    return out if self.peak == 1 else (out / self.peak).astype(np.float32)

  def labels(self, found: np.ndarray) -> np.ndarray:
    """Labels [n], -1 for none."""
    found = found.reshape(len(found)).astype(np.int64)
    if self.classes is None:
      return found
    return np.where(found < 0, -1, np.searchsorted(self.classes, found))


class Arrays:
  """Images or clips and their labels held in memory; worker processes read the file again."""

  def __init__(
    self,
    path: str,
    image: str,
    label: str,
    reading: Reading,
    indices: Sequence[int] | None = None,
  ):
    self.path, self.image, self.label, self.indices = path, image, label, indices
    self.reading = reading
    self._load()

  def _load(self) -> None:
    with np.load(self.path, allow_pickle=False) as file:
      pick = slice(None) if self.indices is None else np.asarray(self.indices)
      self.images = self.reading.images(file[self.image])[pick]
      self.kind = "video" if self.images.ndim == 5 else "image"
      self.labels = self.reading.labels(file[self.label])[pick] if self.label else None

  def __getstate__(self) -> dict[str, Any]:
    """All but the arrays."""
    return {k: v for k, v in self.__dict__.items() if k not in ("images", "labels")}

  def __setstate__(self, state: dict[str, Any]) -> None:
    """Reads the arrays again."""
    self.__dict__.update(state)
    self._load()

  def __len__(self) -> int:
    """Number of examples."""
    return len(self.images)

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The example at `index`, and its label where it has one."""
    label = self.label_of(index.__index__())
    example: Example = {self.kind: self.images[index]}
    return example if label is None else {**example, "label": label}

  def label_of(self, index: int) -> int | None:
    """The label at `index`; None where there is none."""
    if self.labels is None or self.labels[index] < 0:
      return None
    return int(self.labels[index])

  def content_of(self, index: int) -> bytes:
    """The values at `index`."""
    return self.images[index].tobytes()


def open(
  path: str,
  *,
  size: tuple[int, int] | None = None,
  axes: str = "",
  label: str | None = None,
  relabel: bool = False,
  peak: float | None = None,
) -> tuple[Record, dict[str, Source]]:
  """Images of an npz file: arrays [n, h, w, c] or [n, h, w], labels [n] of integers from 0.

  Or clips, [n, t, h, w, c] or, with `axes`, [n, t, h, w]. Arrays are called `train_images` or
  `train_videos`, `train_labels`, `test_images`, ... or `x_train`, `y_train`, ... or, without
  splits, `images` or `videos` and `labels`, of which a tenth of each class then is the test split.
  Splits may be called as `splits.canonical` knows them, and an array of images only by its split.
  An array `class_names` of strings may be there. A label of -1 stands for none. Integers count as 0
  to 255 or 65535, floats as they are.

  Args:
    path: the file.
    size: (height, width), to which images are resized.
    axes: what each axis is, such as "nchw" or "nthw"; "nhwc", "nhw" or "nthwc" if not given.
    label: the array of labels in a file without splits, "" for no labels; None finds them by name.
    relabel: whether the labels that occur are counted anew from 0, in their order.
    peak: the value of floats that stands for 1, such as 255.

  Raises:
    BadInput: no such file, no images in it, arrays that do not fit or can be read in two ways; the
      key that settles it is named.
  """
  arrays = npz.read(path)
  pairs = named.pairs_of(path, arrays, label)
  named.check_rest(path, arrays, pairs, label)
  images = {image: arrays[image] for image, _ in pairs.values()}
  order = named.axes_of(path, images, axes)
  for image, labels in pairs.values():
    named.check(path, image, arrays[image], labels, arrays.get(labels), order)
  of = [name for _, name in pairs.values() if name]
  class_names, classes = named.classes_of(path, arrays, of, relabel)
  reading = Reading(order, named.peak_of(path, images, peak), classes)
  splits: dict[str, Source] = {}
  for split, (image, labels) in pairs.items():
    if split:
      splits[split] = Arrays(path, image, labels, reading)
    else:
      whole = Arrays(path, image, labels, reading)
      names = [str(i) for i in range(len(whole))]
      parts = by_hash_of_classes(names, [whole.label_of(i) for i in range(len(whole))])
      splits |= {s: Arrays(path, image, labels, reading, part) for s, part in parts.items()}
  shapes = {s: source.images.shape[1:] for s, source in splits.items()}  # type: ignore[attr-defined]
  if len({shape[size is not None and 2 :] for shape in shapes.values()}) > 1:
    told = ", ".join(f"{pairs.get(s, (s,))[0]} {shape}" for s, shape in shapes.items())
    raise BadInput(f"arrays of different shapes in {path!r}: {told}")
  shape = next(iter(shapes.values()))
  if len(shape) == 4 and size:
    raise BadInput("data.size is for images, clips keep theirs")
  sizes = {name: len(source) for name, source in splits.items()}
  kind = "video" if len(shape) == 4 else "image"
  top = max(augment.peak(source.images.dtype) for source in splits.values())  # type: ignore[attr-defined]
  shape = (*size, shape[2]) if size else shape
  return Record(kind, shape, sizes, class_names, peak=top), splits
