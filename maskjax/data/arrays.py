"""Images or clips in an npz file of numpy arrays: any size and channels, 8 or 16 bits or floats."""

import os
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np

from maskjax.data.files import by_hash
from maskjax.data.source import Example, Source
from maskjax.errors import BadInput
from maskjax.record import Record

_IMAGES = re.compile(r"(?:(?P<a>\w+)_)?(?:images?|videos?|x)|x_(?P<b>\w+)")
_LABELS = "{0}_label {0}_labels {0}_y y_{0}"
_DTYPES = ("uint8", "uint16", "float16", "float32", "float64")


class Arrays:
  """Images or clips and their labels held in memory; worker processes read the file again."""

  def __init__(self, path: str, image: str, label: str, indices: Sequence[int] | None = None):
    self.path, self.image, self.label, self.indices = path, image, label, indices
    self._load()

  def _load(self) -> None:
    with np.load(self.path, allow_pickle=False) as file:
      pick = slice(None) if self.indices is None else np.asarray(self.indices)
      images = file[self.image][pick]
      self.images = images[..., None] if images.ndim == 3 else images
      self.kind = "video" if images.ndim == 5 else "image"
      self.labels = file[self.label][pick].reshape(len(images)) if self.label else None

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
    """The example at `index`, and its label where there are labels."""
    example: Example = {self.kind: self.images[index]}
    return example if self.labels is None else {**example, "label": int(self.labels[index])}

  def label_of(self, index: int) -> int | None:
    """The label at `index`; None without labels."""
    return None if self.labels is None else int(self.labels[index])


def open(path: str, *, size: tuple[int, int] | None = None) -> tuple[Record, dict[str, Source]]:
  """Images of an npz file: arrays [n, h, w, c] or [n, h, w], labels [n] of integers from 0.

  Or clips, [n, t, h, w, c]. Arrays are called `train_images` or `train_videos`, `train_labels`,
  `test_images`, ... or `x_train`, `y_train`, ... or, without splits, `images` or `videos` and
  `labels`, of which a tenth then is the test split. An array `class_names` of strings may be there.
  Integers count as 0 to 255 or 65535, floats as they are.
  """
  if not path or not os.path.isfile(path):
    raise BadInput(f"data.path={path!r} does not exist")
  pairs, arrays = _read(path)
  if not pairs:
    raise BadInput(
      f"no images in {path!r}: arrays {', '.join(sorted(arrays)) or 'none'}; wanted "
      "train_images, train_labels, ... or images, labels"
    )
  for image, label in pairs.values():
    _check(path, image, arrays[image], label, arrays.get(label))
  splits: dict[str, Source] = {}
  for split, (image, label) in pairs.items():
    if split:
      splits[split] = Arrays(path, image, label)
    else:
      parts = by_hash([str(i) for i in range(len(arrays[image]))])
      splits |= {name: Arrays(path, image, label, part) for name, part in parts.items()}
  shapes = {image: _shape(arrays[image])[size is not None and 2 :] for image, _ in pairs.values()}
  if len(set(shapes.values())) > 1:
    told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    raise BadInput(f"arrays of different shapes in {path!r}: {told}")
  shape = _shape(arrays[next(iter(shapes))])
  if len(shape) == 4 and size:
    raise BadInput("data.size is for images, clips keep theirs")
  sizes = {name: len(source) for name, source in splits.items()}
  names = _class_names(path, arrays, [label for _, label in pairs.values() if label])
  kind = "video" if len(shape) == 4 else "image"
  return Record(kind, (*size, shape[2]) if size else shape, sizes, names), splits


def _read(path: str) -> tuple[dict[str, tuple[str, str]], dict[str, np.ndarray]]:
  """(image, label) array names by split, "" for no label or no split, and all the arrays."""
  if not zipfile.is_zipfile(path):
    raise BadInput(f"{path!r} is not an npz file")
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = {name: file[name] for name in file.files}
  except ValueError as error:
    what = "arrays of Python objects, which are not loaded" if "pickle" in str(error) else error
    raise BadInput(f"{path!r} holds {what}") from error
  except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
    raise BadInput(f"{path!r} is not a readable npz: {error}") from error
  pairs = {}
  for name in sorted(arrays):
    match = _IMAGES.fullmatch(name)
    if match:
      split = match["a"] or match["b"] or ""
      wanted = _LABELS.format(split).split() if split else ["label", "labels", "y"]
      pairs[split] = name, next((w for w in wanted if w in arrays), "")
  return pairs, arrays


def _check(
  path: str, image: str, images: np.ndarray, label: str, labels: np.ndarray | None
) -> None:
  if images.ndim not in (3, 4, 5) or not images.size:
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
  if labels.size != len(images) or labels.shape[0] != len(images):
    raise BadInput(f"{label} in {path!r} has shape {labels.shape} for {len(images)} images")
  if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
    raise BadInput(f"{label} in {path!r} is not made of whole numbers from 0")


def _shape(images: np.ndarray) -> tuple[int, ...]:
  return images.shape[1:] if images.ndim > 3 else (*images.shape[1:], 1)


def _class_names(
  path: str, arrays: Mapping[str, np.ndarray], labels: Sequence[str]
) -> tuple[str, ...]:
  classes = max((int(arrays[name].max()) + 1 for name in labels), default=0)
  given = arrays.get("class_names")
  if given is None:
    return tuple(map(str, range(classes)))
  if len(given) < classes:
    raise BadInput(f"{len(given)} class_names in {path!r} for labels up to {classes - 1}")
  return tuple(map(str, given))
