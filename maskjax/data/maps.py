"""Maps that come with images, a value or a label for each pixel, in files of the same names."""

import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from PIL import Image

from maskjax.data import decode
from maskjax.data.images import Images
from maskjax.data.listing import listed, normal
from maskjax.data.source import Example, Source
from maskjax.data.stored import Stored, Subset, stored
from maskjax.errors import BadInput, unknown

KEYS = ("path", "classes")
# Of these modes a pixel is a number that may be a label; that of a palette is its entry.
_LABELS = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N")


class Map(NamedTuple):
  """The files of one map, in the order of the images, and how many labels it has; 0: numbers."""

  files: Subset
  classes: int


class WithMaps:
  """Images and their maps: `{"image", "label", NAME: [h, w, 1], …}`, of the size of the image.

  Numbers are uint8 or uint16 as stored, labels int32.
  """

  def __init__(self, images: Images, maps: Mapping[str, Map]):
    self.images, self.maps = images, maps
    self.captions = images.captions
    self.reads_labels = images.reads_labels

  def __len__(self) -> int:
    """Number of images."""
    return len(self.images)

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The image at `index` with its maps."""
    i, example = index.__index__(), self.images[index]
    size = np.shape(example["image"])[:2]
    return {**example, **{name: _read(own, i, name, size) for name, own in self.maps.items()}}

  def label_of(self, index: int) -> int | None:
    """The label of the image at `index`, of which nothing is decoded; None without labels."""
    return self.images.label_of(index)

  def content_of(self, index: int) -> bytes:
    """What changes where one of the files does."""
    maps = b"".join(own.files.content_of(index) for own in self.maps.values())
    return self.images.content_of(index) + maps


def checked(maps: Mapping[str, Mapping[str, Any]], taken: Sequence[str] = ()) -> dict[str, int]:
  """The number of labels of each map of a section `data.maps`, 0 of those that hold numbers.

  Raises:
    BadInput: a map without a path, an unknown key, a name that an example has already.
  """
  for name, own in maps.items():
    if name in taken:
      raise BadInput(f"data.maps: an example has a field {name!r} already; give another name")
    for key in own:
      if key not in KEYS:
        raise unknown(f"key of data.maps.{name}", key, KEYS)
    classes = own.get("classes") or 0
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 0:
      raise BadInput(f"data.maps.{name}.classes={classes!r} is no number of labels")
  return {name: own.get("classes") or 0 for name, own in maps.items()}


def beside(
  sources: Mapping[str, Source], maps: Mapping[str, Mapping[str, Any]]
) -> dict[str, Source]:
  """Images of a folder or zip with their maps, which lie in folders or zips of their own.

  The map of `cat/1.jpg` is the file `cat/1` of any suffix.

  Raises:
    BadInput: an image without a map, or with two of one name.
  """
  made: dict[str, dict[str, Map]] = {split: {} for split in sources}
  for name, classes in checked(maps).items():
    if not (path := os.path.expanduser(maps[name].get("path") or "")):
      raise BadInput(f"data.maps.{name}.path says where the maps {name!r} of the images lie")
    listing = listed(path, decode.SUFFIXES, f"maps {name!r}")
    files: Stored = stored(listing, [None] * len(listing.names))
    stems = [_stem(one) for one in listing.names]
    places, often = {stem: i for i, stem in enumerate(stems)}, Counter(stems)
    for split, source in sources.items():
      assert isinstance(source, Images)
      names: Sequence[str] = getattr(source.files, "names")  # noqa: B009
      wanted = [_stem(one) for one in names]
      if bare := [one for one, stem in zip(names, wanted, strict=True) if stem not in places]:
        said = f"{len(bare)} of {len(names)} images of {split!r} have no map {name!r} in {path!r}"
        raise BadInput(f"{said} ({bare[0]}): it has the same name, whatever its suffix")
      if double := [stem for stem in wanted if often[stem] > 1]:
        raise BadInput(f"{often[double[0]]} files of {path!r} are the map {name!r} of {double[0]}")
      made[split][name] = Map(Subset(files, [places[stem] for stem in wanted]), classes)
  images = {split: source for split, source in sources.items() if isinstance(source, Images)}
  return {split: WithMaps(source, made[split]) for split, source in images.items()}


def standardised(maps: np.ndarray) -> np.ndarray:
  r"""Each map [b, h, w, 1] less its mean, over its deviation, both without its extreme tenths.

  $(x - \mu) / \sqrt{\sigma^2 + 10^{-6}}$, with the mean and the unbiased variance of the values
  between the tenths: depth is told up to scale and shift, and a few far points say nothing of it.
  """
  x = np.asarray(maps, np.float32)
  flat = np.sort(x.reshape(len(x), -1), axis=1)
  n = flat.shape[1]
  middle = flat[:, int(0.1 * n) : max(int(0.9 * n), int(0.1 * n) + 2)].astype(np.float64)
  mean, variance = middle.mean(1), middle.var(1, ddof=1) if n > 1 else np.zeros(len(x))
  wide = lambda v: v.astype(np.float32)[:, None, None, None]
  return (x - wide(mean)) / wide(np.sqrt(variance + 1e-6))


def _stem(name: str) -> str:
  return os.path.splitext(normal(name).replace("\\", "/"))[0]


def _read(own: Map, index: int, name: str, size: tuple[int, ...]) -> np.ndarray:
  """A map as numbers or labels, [h, w, 1]."""
  data, file = own.files[index][0], own.files.name(index)
  pixels = _labels(data, file) if own.classes else _numbers(data, file)
  if pixels.shape[:2] != size:
    a, b = (f"{h}x{w}" for h, w in (pixels.shape[:2], size))
    raise BadInput(f"the map {file} is {a}, its image {b}")
  if own.classes and (most := int(pixels.max())) >= own.classes:
    raise BadInput(f"{file} has the label {most}, data.maps.{name}.classes={own.classes}")
  return pixels


def _numbers(data: bytes, file: str) -> np.ndarray:
  mode = decode.header(data, file).mode
  if decode.CHANNELS[mode] != 1:
    raise BadInput(f"the map {file} has colours: numbers are grey, of 8 or 16 bits")
  return decode.decode(data, mode, file)


def _labels(data: bytes, file: str) -> np.ndarray:
  try:
    with Image.open(io.BytesIO(data)) as image:
      mode, pixels = image.mode, np.asarray(image)
  except (OSError, SyntaxError, ValueError) as error:
    raise decode.unreadable(file, error) from error
  if mode not in _LABELS:
    raise BadInput(f"the map {file} has colours: labels are grey, or entries of a palette")
  return pixels.astype(np.int32)[..., None]
