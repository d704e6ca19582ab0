"""Image augmentations on numpy arrays [h, w, c] of any dtype and channel count, run in workers."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from maskjax.data import color
from maskjax.errors import BadInput, unknown

Size = tuple[int, int]
_CACHED = 1 << 16  # numbers that lie in a core's cache from one operation to the next
KEYS = ("crop", "aspect", "pad", "simple", "flip", "roll", *color.KEYS)


def bind(augment: Mapping[str, Any] | None, size: Size) -> Callable[..., np.ndarray]:
  """The function `(image, rng) -> image` that a configuration's `augment` names.

  Keys: `crop=(low, high)`, the share of the area in a random resized crop; `aspect=(low, high)` of
  that crop, width by height, 3/4 to 4/3 if not given; `pad=n`, a plain crop after padding by n
  zeros on each side; `simple=n`, the simple random crop of n reflected pixels, see
  `simple_random_crop`; `flip=True`, left to right with probability one half; `roll=True`, round by
  any number of rows, which are the times of a spectrogram; and those of `color.bind`.
  """
  augment = dict(augment or {})
  for key in augment:
    if key not in KEYS:
      raise unknown("data.augment key", key, KEYS)
  crop, pad, simple = augment.get("crop"), augment.get("pad", 0), augment.get("simple")
  crops = [key for key in ("crop", "pad", "simple") if augment.get(key) not in (None, 0)]
  if len(crops) > 1:
    raise BadInput(f"data.augment has both {' and '.join(crops)}; give one of them")
  if crop is not None:
    crop = _interval("crop", crop, 1.0)
  elif "aspect" in augment:
    raise BadInput("data.augment.aspect belongs to crop, which is not given")
  for key, value in (("pad", pad), ("simple", 0 if simple is None else simple)):
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
      raise BadInput(f"data.augment.{key}={value!r} is not a whole number of pixels")
  flips, rolls = augment.get("flip", False), augment.get("roll", False)
  for key, value in (("flip", flips), ("roll", rolls)):
    if not isinstance(value, bool):
      raise BadInput(f"data.augment.{key}={value!r} is neither True nor False")
  aspect = _interval("aspect", augment.get("aspect", (3 / 4, 4 / 3)), math.inf)
  colors = color.bind({key: augment[key] for key in color.KEYS if key in augment})
  crop_of = partial(apply, size=size, crop=crop, aspect=aspect, pad=pad, simple=simple)
  return partial(crop_of, flips=flips, rolls=rolls, colors=colors)


def apply(
  image: np.ndarray,
  rng: np.random.Generator,
  *,
  size: Size,
  crop: tuple[float, float] | None = None,
  aspect: tuple[float, float] = (3 / 4, 4 / 3),
  pad: int = 0,
  simple: int | None = None,
  flips: bool = False,
  rolls: bool = False,
  colors: Callable[..., np.ndarray] | None = None,
) -> np.ndarray:
  """One training image: crop (or fit, then padded crop), flip, roll, colors; to [*size, c]."""
  if crop is not None:
    image = random_resized_crop(image, rng, size=size, area=crop, aspect=aspect)
  elif simple is not None:
    image = simple_random_crop(image, rng, size=size, pad=simple)
  else:
    image = padded_crop(fit(image, size), rng, pad=pad)
  image = random_flip(image, rng) if flips else image
  image = random_roll(image, rng) if rolls else image
  return image if colors is None else colors(image, rng)


def random_resized_crop(
  image: np.ndarray,
  rng: np.random.Generator,
  *,
  size: Size,
  area: tuple[float, float] = (0.2, 1.0),
  aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> np.ndarray:
  """Cuts a box of random area, aspect and place and resizes it to `size`.

  The area is uniform, the aspect log-uniform, ten tries to fit the image, then the largest centred
  box of an allowed aspect. Szegedy et al., 2015, "Going deeper with convolutions", section 6.
  """
  height, width = image.shape[:2]
  for _ in range(10):
    share = rng.uniform(*area) * height * width
    ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
    w, h = round(math.sqrt(share * ratio)), round(math.sqrt(share / ratio))
    if 0 < h <= height and 0 < w <= width:
      top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
      return resize(image[top : top + h, left : left + w], size)
  ratio = min(max(width / height, aspect[0]), aspect[1])
  w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
  return resize(center_crop(image, (max(h, 1), max(w, 1))), size)


def padded_crop(image: np.ndarray, rng: np.random.Generator, *, pad: int) -> np.ndarray:
  """Pads by `pad` zeros on each side and cuts the old size at a random place."""
  if not pad:
    return image
  height, width, channels = image.shape
  padded = np.zeros((height + 2 * pad, width + 2 * pad, channels), image.dtype)
  padded[pad : pad + height, pad : pad + width] = image
  top, left = int(rng.integers(2 * pad + 1)), int(rng.integers(2 * pad + 1))
  return padded[top : top + height, left : left + width]


def simple_random_crop(
  image: np.ndarray, rng: np.random.Generator, *, size: Size, pad: int
) -> np.ndarray:
  """Resizes to cover `size`, reflects `pad` pixels at each edge and cuts `size` at a random place.

  Touvron et al., 2022, "DeiT III: Revenge of the ViT".
  """
  image = np.pad(cover(image, size), ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
  top, left = (int(rng.integers(n - s + 1)) for n, s in zip(image.shape[:2], size, strict=True))
  return image[top : top + size[0], left : left + size[1]]


def random_flip(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Flips left to right with probability one half."""
  return flip(image) if rng.random() < 0.5 else image


def random_roll(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Moves all rows down by one number of them; those that leave below come back above."""
  return np.roll(image, int(rng.integers(len(image))), axis=0)


def flip(image: np.ndarray) -> np.ndarray:
  """Flips left to right."""
  # A pixel is moved as one item: a copy of image[:, ::-1] goes channel by channel, twice as slow.
  height, width, channels = image.shape
  rows = np.ascontiguousarray(image).reshape(height, width * channels)
  pixels = rows.view(np.dtype((np.void, channels * image.itemsize)))
  return np.ascontiguousarray(pixels[:, ::-1]).view(image.dtype).reshape(image.shape)


def fit(image: np.ndarray, size: Size) -> np.ndarray:
  """Resizes, aspect kept, to the smallest image that covers `size`, and cuts its centre."""
  return center_crop(cover(image, size), size)


def cover(image: np.ndarray, size: Size) -> np.ndarray:
  """Resizes, aspect kept, to the smallest image that covers `size`."""
  height, width = image.shape[:2]
  scale = max(size[0] / height, size[1] / width)
  wanted = max(round(height * scale), size[0]), max(round(width * scale), size[1])
  return resize(image, wanted)


def center_crop(image: np.ndarray, size: Size) -> np.ndarray:
  """Cuts the centre; an odd rest goes below and to the right."""
  top, left = ((n - s) // 2 for n, s in zip(image.shape[:2], size, strict=True))
  return image[top : top + size[0], left : left + size[1]]


def resize(image: np.ndarray, size: Size) -> np.ndarray:
  """Bicubic resize with antialiasing, [h, w, c] to [*size, c] of the same dtype.

  What is int32 are labels, of which the nearest one is taken.
  """
  if image.shape[:2] == tuple(size):
    return image
  if image.dtype == np.int32:
    return np.stack([_nearest(image[..., c], size) for c in range(image.shape[2])], axis=-1)
  if image.dtype == np.uint8 and image.shape[2] == 3:
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))
  # Pillow takes a fourth channel for transparency and has no other counts: one channel at a time.
  channels = [_resize_channel(image[..., c], size) for c in range(image.shape[2])]
  return np.stack(channels, axis=-1)


def normalise(images: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
  """(image / peak - mean) / std as float32, with 255 or 65535 the peak of integers, 1 of floats."""
  deviation = np.asarray(std, np.float64)
  scale = (1 / (peak(images.dtype) * deviation)).astype(np.float32)
  shift = (np.asarray(mean, np.float64) / deviation).astype(np.float32)
  out = np.empty(images.shape, np.float32)
  # NumPy loops over the last axis: a row of pixels at a time, not the few channels of each.
  width, channels = images.shape[-2:]
  scale, shift = np.tile(scale, width), np.tile(shift, width)
  rows, made = (x.reshape(-1, width * channels) for x in (images, out))
  step = max(1, _CACHED // max(1, width * channels))
  for at in range(0, len(rows), step):
    part = np.multiply(rows[at : at + step], scale, out=made[at : at + step], dtype=np.float32)
    part -= shift
  return out


def peak(dtype: np.dtype) -> float:
  """The stored value that stands for 1."""
  return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0


def geometry(augment: Mapping[str, Any] | None) -> dict[str, Any]:
  """Those keys of an `augment` that move pixels and leave their values.

  >>> geometry(dict(flip=True, jitter=0.4))
  {'flip': True}
  """
  return {key: value for key, value in (augment or {}).items() if key not in color.KEYS}


def _nearest(channel: np.ndarray, size: Size) -> np.ndarray:
  image = Image.fromarray(np.ascontiguousarray(channel))
  return np.asarray(image.resize(size[::-1], Image.Resampling.NEAREST))


def _resize_channel(channel: np.ndarray, size: Size) -> np.ndarray:
  dtype = channel.dtype
  if dtype != np.uint8:
    channel = channel.astype(np.float32)
  image = Image.fromarray(np.ascontiguousarray(channel))
  out = np.asarray(image.resize(size[::-1], Image.Resampling.BICUBIC))
  if np.issubdtype(dtype, np.integer):
    out = np.clip(np.rint(out), 0, peak(dtype))
  return out.astype(dtype)


def _interval(key: str, value: Any, high: float) -> tuple[float, float]:
  try:
    a, b = (float(v) for v in value)
  except (TypeError, ValueError):
    a, b = 1.0, 0.0
  if not 0 < a <= b <= high:
    raise BadInput(f"data.augment.{key}={value!r} is not (low, high), 0 < low <= high <= {high:g}")
  return a, b
