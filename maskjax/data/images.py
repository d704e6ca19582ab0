"""Encoded images as a source: checked once when opened, decoded on demand, kept where they fit."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, SupportsIndex

import numpy as np

from maskjax.data import decode
from maskjax.data.source import Example, Source
from maskjax.data.stored import Encoded, Subset
from maskjax.errors import BadInput, unknown
from maskjax.record import Record

_log = logging.getLogger("maskjax")
_ALL = 100_000  # headers of so many small files are read in seconds
_SAMPLE = 10_000  # enough where no size has to be checked, or of very many files


class Images:
  """Decoded images `{"image": uint8 or uint16 [h, w, c], "label": int}` of encoded files.

  With `keep`, a decoded image stays in memory; copies sent to worker processes start empty. With
  `size`, (height, width), an image of another size is refused by name.
  """

  def __init__(
    self,
    files: Encoded,
    mode: str,
    size: tuple[int, int] | None,
    keep: bool,
    reading: decode.Reading = decode.STORED,
  ):
    self.files, self.mode, self.size, self.keep = files, mode, size, keep
    self.reading = reading
    self.captions: Sequence[tuple[str, ...]] | None = None  # that came with each image
    self._kept: dict[int, Example] = {}

  def __getstate__(self) -> dict[str, Any]:
    """All but the decoded images."""
    return {**self.__dict__, "_kept": {}}

  def __len__(self) -> int:
    """Number of images."""
    return len(self.files)

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The image at `index`, and its label where there are labels."""
    index = index.__index__()
    kept = self._kept.get(index)
    if kept is not None:
      return dict(kept)
    data, label = self.files[index]
    image = decode.decode(data, self.mode, self.files.name(index), self.reading)
    if self.size is not None and image.shape[:2] != self.size:
      raise _sizes(
        self.files.name(index), image.shape[:2], "the data set's first images", self.size
      )
    example: Example = {"image": image} if label is None else {"image": image, "label": label}
    if self.keep:
      image.flags.writeable = False
      self._kept[index] = dict(example)
    return example

  def label_of(self, index: int) -> int | None:
    """The label of the image at `index`, which is not decoded; None without labels."""
    return self.files.label_of(index)

  @property
  def reads_labels(self) -> bool:
    """Whether a label is known only once its file has been read."""
    return getattr(self.files, "reads_labels", False)

  def content_of(self, index: int) -> bytes:
    """What changes where the file of the image at `index` does."""
    return self.files.content_of(index)


def open_images(
  splits: Mapping[str, Encoded],
  class_names: Sequence[str],
  *,
  size: tuple[int, int] | None,
  on_error: str,
  cache_bytes: int,
  reading: decode.Reading = decode.STORED,
) -> tuple[Record, dict[str, Source]]:
  """Checks files and gives their record, still without statistics, and their sources.

  All images get the most common mode, which the log tells where modes differ; without `size` all
  must be equally large. For this the headers of all files are read, but only 10,000 evenly spaced
  ones of a split with more than 100,000, or with more than that where there is a `size`; what the
  sample missed is refused by name when it is decoded. `on_error="skip"` decodes every file once and
  leaves out the bad ones.
  """
  if on_error not in ("raise", "skip"):
    raise unknown("data.on_error", on_error, ["raise", "skip"])
  if on_error == "skip":
    splits = {split: _readable(files, reading) for split, files in splits.items()}
  most = _ALL if size is None else _SAMPLE
  heads = {split: _headers(files, most, reading) for split, files in splits.items()}
  merged = {name: head for part in heads.values() for name, head in part.items()}
  mode = decode.vote(merged)
  _tell(merged, mode)
  stored = None if size else _common_size(merged)
  if size:
    _log.info("%s, read at %dx%d", _extent(merged), *size)
  channels = decode.CHANNELS[mode]
  width = channels * (2 if mode == "I;16" else 1)
  sources: dict[str, Source] = {}
  for split, files in splits.items():
    area = np.mean([head.height * head.width for head in heads[split].values()])
    fits = bool(area * width * len(files) <= cache_bytes)
    sources[split] = Images(files, mode, stored, keep=fits, reading=reading)
  shape = (*(size or stored or ()), channels)
  sizes = {split: len(source) for split, source in sources.items()}
  peak = 65535.0 if mode == "I;16" else 255.0
  return Record("image", shape, sizes, tuple(class_names), peak=peak), sources


def evenly(total: int, limit: int | None) -> range | np.ndarray:
  """At most `limit` indices, evenly spaced over `range(total)`, each once.

  >>> evenly(10, 4).tolist()
  [0, 2, 5, 7]
  """
  if limit is None or limit >= total:
    return range(total)
  return np.arange(limit) * total // limit


def _tell(heads: Mapping[str, decode.Header], mode: str) -> None:
  """Logs what is not as it is stored: modes, alpha, further frames."""
  others = sum(head.mode != mode for head in heads.values())
  if others:
    _log.info("%d of %d images are converted to mode %s", others, len(heads), mode)
  alpha = [n for n, head in heads.items() if head.mode in ("LA", "RGBA")]
  if alpha and mode not in ("LA", "RGBA"):
    told = "%d of %d images have transparency, which is dropped (%s); data.background=(r, g, b)"
    _log.warning(told, len(alpha), len(heads), alpha[0])
  several = [n for n, head in heads.items() if head.several]
  if several:
    told = "%d of %d images have several pages or frames, of which the first is read (%s)"
    _log.warning(told, len(several), len(heads), several[0])


def _headers(files: Encoded, most: int, reading: decode.Reading) -> dict[str, decode.Header]:
  indices: Iterable[int] = evenly(len(files), None if len(files) <= most else _SAMPLE)
  heads = {}
  for i in map(int, indices):
    name = files.name(i)
    heads[name] = decode.header(files[i][0], name, reading)
  return heads


def _common_size(heads: Mapping[str, decode.Header]) -> tuple[int, int]:
  names = iter(heads)
  first = next(names)
  size = heads[first].height, heads[first].width
  for name in names:
    other = heads[name].height, heads[name].width
    if other != size:
      raise _sizes(name, other, first, size)
  return size


def _extent(heads: Mapping[str, decode.Header]) -> str:
  """How large images are as they are stored."""
  heights, widths = ([head[axis] for head in heads.values()] for axis in (0, 1))
  if len({*heights}) == len({*widths}) == 1:
    return f"images of {heights[0]}x{widths[0]}"
  spread = f"{min(heights)} to {max(heights)} high, {min(widths)} to {max(widths)} wide"
  return f"images differ in size: {spread}"


def _sizes(name: str, size: Sequence[int], first: str, first_size: Sequence[int]) -> BadInput:
  a, b = (f"{h}x{w}" for h, w in (first_size, size))
  return BadInput(f"images differ in size: {first} is {a}, {name} is {b}; set data.size=(h, w)")


def _readable(files: Encoded, reading: decode.Reading) -> Encoded:
  """The files that decode; the others are reported."""

  def why_not(index: int) -> str:
    try:
      data, name = files[index][0], files.name(index)
      decode.decode(data, decode.header(data, name, reading).mode, name, reading)
    except BadInput as error:
      return str(error).split(" (data.on_error")[0]
    return ""

  with ThreadPoolExecutor() as pool:
    reasons = list(pool.map(why_not, range(len(files))))
  for reason in filter(None, reasons):
    _log.warning("left out: %s", reason)
  good = [i for i, reason in enumerate(reasons) if not reason]
  if not good:
    raise BadInput(f"no readable image: {reasons[0]}" if reasons else "no images")
  return files if len(good) == len(files) else Subset(files, good)
