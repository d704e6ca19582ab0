"""TFDS sets of images or text by name, read at random and without TensorFlow."""

import contextlib
import contextvars
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from maskjax.data import text as texts
from maskjax.data import told, windows
from maskjax.data.files import CACHE_BYTES
from maskjax.data.images import Images, open_images
from maskjax.data.openers import OPENERS
from maskjax.data.source import Source
from maskjax.data.stored import Encoded
from maskjax.errors import BadInput, nearest, unknown
from maskjax.record import Record

_OURS = ("digits",)
_DOWNLOADS = contextvars.ContextVar("downloads", default=True)
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


class _Files:
  """Encoded images of a TFDS split."""

  reads_labels = True

  def __init__(self, source: Any, called: str, image: str, label: str):
    self.source, self.called, self.image, self.label = source, called, image, label

  def captions(self, feature: str) -> list[tuple[str, ...]]:
    """The captions of all examples: those of a feature, or within one ("captions/text")."""
    return [tuple(_texts_in(example, feature.split("/"))) for example in self.source]

  def __len__(self) -> int:
    return len(self.source)

  def __getitem__(self, index: int, /) -> tuple[bytes, int | None]:
    example = self.source[index]
    label = int(example[self.label]) if self.label else -1
    return example[self.image], None if label < 0 else label  # -1 stands for none

  def label_of(self, index: int) -> int | None:
    return self[index][1]

  def content_of(self, index: int) -> bytes:
    return self[index][0]

  def name(self, index: int) -> str:
    return f"{self.called}[{index}]"


def open(
  path: str = "",
  *,
  name: str,
  image: str = "",
  label: str = "",
  text: str = "",
  size: tuple[int, int] | None = None,
  on_error: str = "raise",
  cache_bytes: int = CACHE_BYTES,
  unit: str | None = None,
  vocabulary: int | None = None,
  length: int | None = None,
  stride: int | None = None,
  documents: str | None = None,
  collocations: Mapping[str, Any] | None = None,
  captions: str | None = None,
  known: Record | None = None,
) -> tuple[Record, dict[str, Source]]:
  """A TFDS set, prepared on first use under `path` or TFDS's own folder.

  `image`, `label` and `text` name the features where a set has several. A set without images, or
  where `text` is given, is text in the set's own splits: `unit` to `collocations` are those of
  `text.open`, with "example" for a document an example; without `documents` the examples of a
  split are joined by line ends. `captions` names the text of a set of images, "" where there is one
  such; "captions/text" is what lies in a sequence of examples' own. `known` is that of `text.open`.
  Sets that TFDS prepares only with TensorFlow need it once: `pip install 'maskjax[tf]'`.
  """
  import tensorflow_datasets as tfds  # takes a second, which other kinds of data need not pay

  create = partial(_builder, tfds, name, os.path.expanduser(path) or None)
  builder = create()
  try:
    features = builder.info.features
  except ImportError as error:
    raise _needs_tensorflow(name) from error
  given: dict[str, Any] = dict(unit=unit, vocabulary=vocabulary, length=length, stride=stride)
  given |= dict(documents=documents, collocations=collocations)
  wanted: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
  image = "" if text else _pick(name, "image", image, features, tfds.features.Image)
  if not image:
    text = _pick(name, "text", text, features, tfds.features.Text)
    if not text:
      others = ", ".join(features)
      raise BadInput(f"data set {name!r} has no images and no text: its features are {others}")
    if size is not None or label:
      raise BadInput(f"data.{'size' if size else 'label'} is for images, {name!r} is text")
    return _texts(_sources(_prepare(create, name), name), name, text, known=known, **wanted)
  if wanted:
    raise BadInput(f"data.{next(iter(wanted))} is for text, {name!r} has images")
  label = _pick(name, "label", label, features, tfds.features.ClassLabel)
  sources = _sources(_prepare(create, name), name, {image: tfds.decode.SkipDecoding()})
  files = {
    split: _Files(source, f"{name}/{split}", image, label) for split, source in sources.items()
  }
  class_names = tuple(features[label].names) if label else ()
  height, width, channels = features[image].shape
  plain = np.dtype(features[image].np_dtype) == np.uint8 and channels in _MODES
  if captions is not None:
    if on_error != "raise":
      raise BadInput("data.captions.column of a TFDS set is read with data.on_error='raise' alone")
    captions = captions or _pick(name, "captions.column", "", features, tfds.features.Text)
    if captions.split("/")[0] not in features:
      raise unknown("feature for data.captions.column", captions, features)
  if on_error == "raise" and plain and height and width:
    made = _known(files, class_names, (height, width), _MODES[channels], size, cache_bytes)
  else:
    made = open_images(files, class_names, size=size, on_error=on_error, cache_bytes=cache_bytes)
  if captions is not None:
    for split, part in files.items():
      told.check(split, each := part.captions(captions), [part.name(i) for i in range(len(part))])
      source = made[1][split]
      assert isinstance(source, Images)
      source.captions = each
  return made


@contextlib.contextmanager
def not_downloaded() -> Iterator[None]:
  """Within it a set that is not on this machine is refused, not downloaded."""
  before = _DOWNLOADS.set(False)
  try:
    yield
  finally:
    _DOWNLOADS.reset(before)


def _texts_in(value: Any, path: Sequence[str]) -> Iterator[str]:
  """All texts at a path of nested features, some of which are sequences."""
  if isinstance(value, Mapping):
    yield from _texts_in(value[path[0]], path[1:]) if path else ()
  elif isinstance(value, bytes | str):
    if text := (value.decode() if isinstance(value, bytes) else value).strip():
      yield text
  else:
    for one in value:
      yield from _texts_in(one, path)


def _sources(builder: Any, name: str, decoders: Mapping[str, Any] | None = None) -> dict[str, Any]:
  """The splits that hold something, as sequences of examples."""
  try:
    sources = {s: builder.as_data_source(s, decoders=decoders) for s in builder.info.splits}
  except NotImplementedError as error:
    raise BadInput(
      f"data set {name!r} is prepared without random access in {builder.data_dir}: give another "
      "data.path, or move it away, to have it prepared as array_record"
    ) from error
  return {split: source for split, source in sources.items() if len(source)}


def _texts(
  sources: Mapping[str, Any], name: str, text: str, *, documents: str = "", **kwargs: Any
) -> tuple[Record, dict[str, Source]]:
  """Record and windows of a set's texts, which are read whole."""
  held = {}
  for split, source in sources.items():
    read = [example[text].decode() for example in source]
    held[split] = texts.cut(read, documents, each="example") if documents else ["\n".join(read)]
  held = {split: part for split, part in held.items() if any(part)}
  if "train" not in held:
    raise BadInput(f"data set {name!r} has no text in a split train")
  return windows.assemble(name, held, documents=bool(documents), **kwargs)


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
    near = nearest(name, [*OPENERS, *_OURS, *tfds.list_builders(with_community_datasets=False)])
    raise BadInput(
      f"unknown data set {name!r}{near} (known: {', '.join(OPENERS)}, digits or any TFDS name)"
    ) from error
  except ImportError as error:
    raise _needs_tensorflow(name) from error


def _prepare(create: Callable[[], Any], name: str) -> Any:
  """The builder of a set that is there, prepared now or before, by this process or another."""
  builder = create()
  if not _DOWNLOADS.get() and name not in _OURS and not builder.is_prepared():
    said = "a run downloads it, a check does not; data.name='tiny' checks all but the data"
    raise BadInput(f"data set {name!r} is not prepared on this machine: {said}")
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
    if name in _OURS and not isinstance(error, OSError):
      raise  # a bug of ours
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
