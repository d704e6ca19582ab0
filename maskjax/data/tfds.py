"""TFDS image sets by name, read at random and without TensorFlow."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from maskjax.data.files import CACHE_BYTES
from maskjax.data.images import Encoded, Images, open_images
from maskjax.data.source import Source
from maskjax.errors import BadInput, nearest
from maskjax.record import Record

_OURS = ("digits",)
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


class _Files:
  """Encoded images of a TFDS split."""

  def __init__(self, source: Any, called: str, image: str, label: str):
    self.source, self.called, self.image, self.label = source, called, image, label

  def __len__(self) -> int:
    return len(self.source)

  def __getitem__(self, index: int, /) -> tuple[bytes, int | None]:
    example = self.source[index]
    return example[self.image], int(example[self.label]) if self.label else None

  def name(self, index: int) -> str:
    return f"{self.called}[{index}]"


def open(
  path: str = "",
  *,
  name: str,
  image: str = "",
  label: str = "",
  size: tuple[int, int] | None = None,
  on_error: str = "raise",
  cache_bytes: int = CACHE_BYTES,
) -> tuple[Record, dict[str, Source]]:
  """A TFDS set, prepared on first use under `path` or TFDS's own folder.

  `image` and `label` name the features where a set has several. Sets that TFDS prepares only with
  TensorFlow need it once: `pip install 'maskjax[tf]'`.
  """
  import tensorflow_datasets as tfds  # takes a second, which other kinds of data need not pay

  create = partial(_builder, tfds, name, os.path.expanduser(path) or None)
  builder = create()
  try:
    features = builder.info.features
  except ImportError as error:
    raise _needs_tensorflow(name) from error
  image = _pick(name, "image", image, features, tfds.features.Image)
  label = _pick(name, "label", label, features, tfds.features.ClassLabel)
  if not image:
    raise BadInput(f"data set {name!r} has no images: its features are {', '.join(features)}")
  builder = _prepare(create, name)
  decoders = {image: tfds.decode.SkipDecoding()}
  try:
    sources = {s: builder.as_data_source(s, decoders=decoders) for s in builder.info.splits}
  except NotImplementedError as error:
    raise BadInput(
      f"data set {name!r} is prepared without random access in {builder.data_dir}: give another "
      "data.path, or move it away, to have it prepared as array_record"
    ) from error
  files: dict[str, Encoded] = {
    split: _Files(source, f"{name}/{split}", image, label)
    for split, source in sources.items()
    if len(source)
  }
  class_names = tuple(features[label].names) if label else ()
  height, width, channels = features[image].shape
  plain = np.dtype(features[image].np_dtype) == np.uint8 and channels in _MODES
  if on_error == "raise" and plain and height and width:
    return _known(files, class_names, (height, width), _MODES[channels], size, cache_bytes)
  return open_images(files, class_names, size=size, on_error=on_error, cache_bytes=cache_bytes)


def _known(
  files: Mapping[str, Encoded],
  class_names: tuple[str, ...],
  stored: tuple[int, int],
  mode: str,
  size: tuple[int, int] | None,
  cache_bytes: int,
) -> tuple[Record, dict[str, Source]]:
  """Record and sources where the set itself says how large its images are: no file is opened."""
  bytes_each = stored[0] * stored[1] * len(mode)
  splits: dict[str, Source] = {
    split: Images(part, mode, stored, keep=bytes_each * len(part) <= cache_bytes)
    for split, part in files.items()
  }
  channels = {mode: n for n, mode in _MODES.items()}[mode]
  sizes = {split: len(part) for split, part in files.items()}
  return Record("image", (*(size or stored), channels), sizes, class_names), splits


def _builder(tfds: Any, name: str, data_dir: str | None) -> Any:
  if name in _OURS:
    from maskjax.data.digits import digits_dataset_builder

    return digits_dataset_builder.Builder(data_dir=data_dir)
  try:
    return tfds.builder(name, data_dir=data_dir)
  except tfds.core.DatasetNotFoundError as error:
    kinds = ("folder", "zip", "npz", "text", "wav", "csv")
    near = nearest(name, [*kinds, *_OURS, *tfds.list_builders(with_community_datasets=False)])
    raise BadInput(
      f"unknown data set {name!r}{near} (known: {', '.join(kinds)}, digits or any TFDS name)"
    ) from error
  except ImportError as error:
    raise _needs_tensorflow(name) from error


def _prepare(create: Callable[[], Any], name: str) -> Any:
  """The builder of a set that is there, prepared now or before, by this process or another."""
  builder = create()
  try:
    builder.download_and_prepare(file_format="array_record")
  except ImportError as error:
    raise _needs_tensorflow(name) from error
  except Exception as error:
    builder = create()
    if builder.is_prepared():  # by another process, in the meantime
      return builder
    if "tensorflow" in str(error).lower() and "install" in str(error).lower():
      raise _needs_tensorflow(name) from error
    why = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise BadInput(f"data set {name!r} could not be prepared: {why}") from error
  return builder


def _needs_tensorflow(name: str) -> BadInput:
  return BadInput(f"TFDS prepares {name!r} with TensorFlow: pip install 'maskjax[tf]', once")


def _pick(name: str, role: str, given: str, features: Mapping[str, Any], kind: type) -> str:
  """The feature that plays a role: the given one, the one called so, or the only one."""
  choices = [key for key, feature in features.items() if isinstance(feature, kind)]
  if given:
    if given not in choices:
      raise BadInput(
        f"data set {name!r} has no {role} {given!r}{nearest(given, choices)} "
        f"(known: {', '.join(choices) or 'none'})"
      )
    return given
  if role in choices:
    return role
  if len(choices) > 1:
    raise BadInput(f"data set {name!r} has several: set data.{role} to {' or '.join(choices)}")
  return choices[0] if choices else ""
