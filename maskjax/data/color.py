"""Color augmentations of 8-bit images of three channels, as Pillow computes them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from maskjax.errors import BadInput, unknown

KEYS = ("jitter", "jitter_share", "gray", "solarize", "blur", "one_of")


def bind(options: Mapping[str, Any]) -> Callable[..., np.ndarray] | None:
  """The function `(image, rng) -> image` of the color keys of `augment`; None without any.

  Keys: `jitter=(brightness, contrast, saturation, hue)`, see `jitter`, of a share `jitter_share` of
  images, of all if not given; `gray`, `solarize` and `blur`, each the share of images that get it;
  `one_of=("gray", …)`, of which every image gets one, each as likely.

  Raises:
    BadInput: a share outside [0, 1], strengths that cannot be, or an unknown name.
  """
  for key in set(options) - {"jitter", "one_of"}:
    if not 0 <= options[key] <= 1:
      raise BadInput(f"data.augment.{key}={options[key]!r} is not a share of images, 0 to 1")
  strengths, one_of = options.get("jitter"), tuple(options.get("one_of", ()))
  if strengths is not None and not (
    len(strengths) == 4 and min(strengths) >= 0 and strengths[3] <= 0.5
  ):
    wanted = "(brightness, contrast, saturation, hue), none negative, hue 0.5 at most"
    raise BadInput(f"data.augment.jitter={strengths!r} is not {wanted}")
  for name in one_of:
    if name not in ONES:
      raise unknown("name in data.augment.one_of", name, ONES)
  steps: list[tuple[float, Callable[..., Any]]] = []
  if strengths is not None:
    steps.append((options.get("jitter_share", 1.0), partial(jitter, strengths=strengths)))
  elif "jitter_share" in options:
    raise BadInput("data.augment.jitter_share belongs to jitter, which is not given")
  steps += [(options[name], fn) for name, fn in ONES.items() if name in options]
  return partial(apply, steps=tuple(steps), one_of=one_of) if steps or one_of else None


def apply(
  image: np.ndarray,
  rng: np.random.Generator,
  *,
  steps: Sequence[tuple[float, Callable[..., Any]]],
  one_of: Sequence[str] = (),
) -> np.ndarray:
  """Each step for its share of images, then one of several for all; uint8 [h, w, 3] to the same."""
  if image.dtype != np.uint8 or image.shape[-1] != 3:
    raise BadInput(f"colors are of 8-bit images of 3 channels, got {image.dtype} {image.shape}")
  picture = Image.fromarray(image)
  for share, step in steps:
    picture = step(picture, rng) if rng.random() < share else picture
  if one_of:
    picture = ONES[one_of[int(rng.integers(len(one_of)))]](picture, rng)
  return np.asarray(picture)


def jitter(
  picture: Image.Image, rng: np.random.Generator, *, strengths: Sequence[float]
) -> Image.Image:
  """Brightness, contrast, saturation and hue, in random order.

  With a strength s the first three are multiplied by a number between max(0, 1 - s) and 1 + s; the
  hue turns by a share of the circle between -s and s. Howard, 2013; torchvision's `ColorJitter`.
  """
  for i in (i for i in rng.permutation(4) if strengths[i]):
    low, high = max(0.0, 1 - strengths[i]) if i < 3 else -strengths[i], strengths[i]
    factor = rng.uniform(low, 1 + high if i < 3 else high)
    picture = ENHANCE[i](picture).enhance(factor) if i < 3 else turn_hue(picture, factor)
  return picture


def turn_hue(picture: Image.Image, share: float) -> Image.Image:
  """Turns the hue of every pixel by a share of the circle."""
  hsv = np.array(picture.convert("HSV"))
  hsv[..., 0] += np.uint8(int(share * 255) % 256)
  return Image.fromarray(hsv, "HSV").convert("RGB")


def gray(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
  """The brightness in all three channels."""
  return picture.convert("L").convert("RGB")


def solarize(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
  """Inverts what is brighter than half."""
  return ImageOps.solarize(picture)


def blur(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
  """A Gaussian blur of a random deviation, 0.1 to 2 pixels. Chen et al., 2020 (SimCLR)."""
  return picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 2.0)))


ENHANCE = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
ONES: dict[str, Callable[..., Image.Image]] = {"gray": gray, "solarize": solarize, "blur": blur}
