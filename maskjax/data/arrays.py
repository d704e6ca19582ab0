"""Images or clips in an npz file of numpy arrays: any size and channels, 8 or 16 bits or floats."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, SupportsIndex

import numpy as np

from maskjax.data import augment, npz
from maskjax.data.source import Example, Source
from maskjax.data.splits import by_hash_of_classes, canonical
from maskjax.errors import BadInput, unknown
from maskjax.record import Record

_log = logging.getLogger("maskjax")

_WHAT = "images?|videos?|x|data"
_IMAGES = re.compile(rf"(?:(?P<a>\w+)_)?(?:{_WHAT})|(?:{_WHAT})_(?P<b>\w+)", re.IGNORECASE)
_LABELS = ("label", "labels", "y", "target", "targets")
_DTYPES = ("uint8", "uint16", "float16", "float32", "float64")
_USUAL = (1, 3, 4)  # channels of a picture
_AXES = {3: "nhw", 4: "nhwc", 5: "nthwc"}


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

  Or clips, [n, t, h, w, c]. Arrays are called `train_images` or `train_videos`, `train_labels`,
  `test_images`, ... or `x_train`, `y_train`, ... or, without splits, `images` or `videos` and
  `labels`, of which a tenth of each class then is the test split. Splits may be called as
  `splits.canonical` knows them. An array `class_names` of strings may be there. A label of -1
  stands for none. Integers count as 0 to 255 or 65535, floats as they are.

  Args:
    path: the file.
    size: (height, width), to which images are resized.
    axes: what each axis is, such as "nchw"; "nhwc", "nhw" or "nthwc" if not given.
    label: the array of labels in a file without splits, "" for no labels; None finds it by name.
    relabel: whether the labels that occur are counted anew from 0, in their order.
    peak: the value of floats that stands for 1, such as 255.

  Raises:
    BadInput: no such file, no images in it, arrays that do not fit or can be read in two ways; the
      key that settles it is named.
  """
  arrays = npz.read(path)
  pairs = _pairs(path, arrays, label)
  _unread(path, arrays, pairs, label)
  images = {image: arrays[image] for image, _ in pairs.values()}
  order = _axes(path, images, axes)
  for image, labels in pairs.values():
    _check(path, image, arrays[image], labels, arrays.get(labels), order)
  named = [name for _, name in pairs.values() if name]
  class_names, classes = _classes(path, arrays, named, relabel)
  reading = Reading(order, _peak(path, images, peak), classes)
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


def _pairs(
  path: str, arrays: Mapping[str, np.ndarray], label: str | None
) -> dict[str, tuple[str, str]]:
  """(image, label) array names by split, "" for no label or no split."""
  lower = {name.lower(): name for name in arrays}
  pairs: dict[str, tuple[str, str]] = {}
  for name in sorted(arrays):
    match = _IMAGES.fullmatch(name)
    if not match or getattr(arrays[name], "ndim", 0) < 1:
      continue
    given = (match["a"] or match["b"] or "").lower()
    split = canonical(given) or given
    if split in pairs:
      other = pairs[split][0]
      raise BadInput(f"{other} and {name} in {path!r} are both images of {split or 'all'}")
    forms = [f for y in _LABELS for f in ((f"{given}_{y}", f"{y}_{given}") if given else (y,))]
    pairs[split] = name, next((lower[form] for form in forms if form in lower), "")
  if not pairs:
    raise BadInput(
      f"no images in {path!r}: arrays {', '.join(sorted(arrays)) or 'none'}; wanted "
      "train_images, train_labels, ... or images, labels"
    )
  if label is not None:
    if list(pairs) != [""]:
      raise BadInput(f"data.label={label!r} is for an npz without splits, not for {path!r}")
    if label and label not in arrays:
      raise unknown("array for data.label", label, arrays)
    pairs[""] = pairs[""][0], label
  return pairs


def _unread(
  path: str,
  arrays: Mapping[str, np.ndarray],
  pairs: Mapping[str, tuple[str, str]],
  label: str | None,
) -> None:
  """What is neither images nor labels: refused where it may be labels, else told."""
  used = {name for pair in pairs.values() for name in pair} | {"class_names"}
  rest = sorted(set(arrays) - used)
  bare = {len(arrays[image]) for image, labels in pairs.values() if not labels}
  for name in rest:
    found = arrays[name]
    if label is None and found.ndim and len(found) in bare and found.dtype.kind in "iub":
      raise BadInput(
        f"{name} in {path!r} may be labels: call it labels, or set data.label={name!r} or ''"
      )
  if rest:
    _log.warning("%s: passed over the arrays %s", path, ", ".join(rest))


def _axes(path: str, images: Mapping[str, np.ndarray], axes: str) -> str:
  name, found = next(iter(images.items()))
  usual = _AXES.get(found.ndim, "")
  if axes:
    if sorted(axes) != sorted(usual):
      raise BadInput(f"data.axes={axes!r} does not name the axes {usual!r} of {name} in {path!r}")
    return axes
  first = 1 if found.ndim == 4 else 2
  if found.ndim > 3 and found.shape[first] in _USUAL and found.shape[-1] not in _USUAL:
    other = "nchw" if found.ndim == 4 else "ntchw"
    raise BadInput(
      f"{name} in {path!r} has shape {found.shape}: channels first is data.axes={other!r}, "
      f"else data.axes={usual!r}"
    )
  return usual


def _peak(path: str, images: Mapping[str, np.ndarray], peak: float | None) -> float:
  if peak is not None:
    if not peak > 0:
      raise BadInput(f"data.peak={peak!r} is not above 0")
    if any(found.dtype.kind != "f" for found in images.values()):
      raise BadInput(f"data.peak is for floats, the images of {path!r} are integers")
    return float(peak)
  for name, found in images.items():
    if found.dtype.kind == "f" and found.min() >= 0 and 2 < found.max() <= 255:
      raise BadInput(
        f"{name} in {path!r} holds floats from {found.min():g} to {found.max():g}: data.peak=255 "
        "if these are bytes, data.peak=1 if they are meant as they are"
      )
  return 1.0


def _check(
  path: str,
  image: str,
  images: np.ndarray,
  label: str,
  labels: np.ndarray | None,
  axes: str,
) -> None:
  if images.ndim not in _AXES or images.ndim != len(axes) or not images.size:
    raise BadInput(
      f"{image} in {path!r} has shape {images.shape}, wanted (n, h, w, c), (n, h, w) or "
      "(n, t, h, w, c)"
    )
  if images.dtype.name not in _DTYPES:
    raise BadInput(f"{image} in {path!r} is {images.dtype}, wanted one of {', '.join(_DTYPES)}")
  if np.issubdtype(images.dtype, np.floating) and not np.isfinite(images).all():
    raise BadInput(f"{image} in {path!r} holds values that are not finite")
  if labels is None:
    return
  number = images.shape[axes.index("n")]
  if not labels.ndim or labels.size != number or labels.shape[0] != number:
    raise BadInput(f"{label} in {path!r} has shape {labels.shape} for {number} images")
  if labels.dtype.kind not in "iub" or labels.min() < -1:
    raise BadInput(f"{label} in {path!r} is not made of whole numbers from 0, or -1 for none")


def _classes(
  path: str, arrays: Mapping[str, np.ndarray], labels: Sequence[str], relabel: bool
) -> tuple[tuple[str, ...], tuple[int, ...] | None]:
  """Names of the classes, and the labels that stand for them unless these are 0, 1, ..."""
  every = [arrays[name].ravel().astype(np.int64) for name in labels]
  held = np.unique(np.concatenate([np.zeros(0, np.int64), *every]))
  found = [int(label) for label in held if label >= 0]
  most = found[-1] + 1 if found else 0
  given = arrays.get("class_names")
  names = None if given is None else tuple(map(str, given))
  if relabel:
    if names is None or len(names) not in (len(found), most):
      names = tuple(map(str, range(most))) if names is None or len(names) < most else names
    if len(names) != len(found):
      names = tuple(names[label] for label in found)
    return names, tuple(found)
  if names is not None:
    if len(names) < most:
      raise BadInput(f"{len(names)} class_names in {path!r} for labels up to {most - 1}")
    return names, None
  if found != list(range(most)):
    raise BadInput(
      f"labels in {path!r} are {len(found)} numbers from {found[0]} to {found[-1]}, not 0 to "
      f"{len(found) - 1}: data.relabel=True counts them anew, or add an array class_names"
    )
  return tuple(map(str, range(most))), None
