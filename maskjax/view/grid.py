"""From arrays to one picture: de-normalise, hatch what is not there, lay out, save."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Array, Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from maskjax.errors import BadInput

SMALLEST = 96  # pixels of the shorter side of an image that is drawn
LARGEST = 1024  # pixels that magnifying never takes the longer side beyond
BACKGROUND = (246, 246, 244)
FRAME = (205, 205, 203)
INK = (40, 40, 40)
GREY, STROKE = 128, 148  # of the hatch
MARGIN, GUTTER = 12, 8
FONT_SIZE = 13

Picture = UInt8[np.ndarray, "_ _ 3"]


def magnification(height: int, width: int) -> int:
  """The whole factor that brings the shorter side to 96 pixels, the longer one to 1024 at most.

  >>> magnification(8, 8), magnification(32, 48), magnification(224, 224), magnification(1, 500)
  (12, 3, 1, 2)
  """
  smallest, largest = sorted((height, width))
  return max(1, min(math.ceil(SMALLEST / smallest), LARGEST // largest))


def magnify(images: np.ndarray, scale: int) -> np.ndarray:
  """Repeats each pixel of `[b, h, w, ...]` `scale` times along height and width."""
  return images.repeat(scale, axis=1).repeat(scale, axis=2)


def hatch(
  images: UInt8[np.ndarray, "b h w 3"], hidden: Bool[np.ndarray, "b h w"]
) -> UInt8[np.ndarray, "b h w 3"]:
  """Draws diagonal strokes on mid-grey where `hidden`, unlike any flat black, grey or white."""
  rows, columns = np.indices(images.shape[1:3])
  strokes = np.where((rows + columns) % 8 < 2, STROKE, GREY).astype(np.uint8)
  return np.where(hidden[..., None], strokes[..., None], images)


def denormalise(
  images: Float[Array | np.ndarray, "b h w c"],
  mean: Sequence[float],
  std: Sequence[float],
  *,
  scale: int = 1,
) -> UInt8[np.ndarray, "b h*{scale} w*{scale} 3"]:
  r"""Turns normalised images into pixels that can be shown; NaN is hatched, as nothing is there.

  $255 \cdot \mathrm{clip}(x \cdot \mathrm{std} + \mathrm{mean}, 0, 1)$, the same for every image:
  no range is stretched. One or two channels show the first as grey, three or more the first three
  as RGB. A pixel is hatched when any channel shown is NaN.

  Args:
    images: normalised by the record's `mean` and `std`.
    mean: mean of each channel, in units of [0, 1].
    std: deviation of each channel, likewise.
    scale: magnifies each pixel to a square of `scale`, and hatches at that finer resolution.

  Raises:
    BadInput: when `mean` or `std` is not one number a channel.

  >>> images = np.array([0.0, -9.0, 9.0, np.nan]).reshape(1, 1, 4, 1)
  >>> denormalise(images, mean=[0.6], std=[0.25])[0, 0, :, 0].tolist()
  [153, 0, 255, 128]
  """
  x = np.asarray(images).astype(np.float32)
  channels = x.shape[-1]
  if len(mean) != channels or len(std) != channels:
    raise BadInput(
      f"images of {channels} channels need as many means and deviations, "
      f"got {len(mean)} and {len(std)}"
    )
  shown = 3 if channels >= 3 else 1
  x = (x * np.asarray(std, np.float32) + np.asarray(mean, np.float32))[..., :shown]
  hidden = np.asarray(np.isnan(x).any(axis=-1))
  painted = pixels(np.nan_to_num(x))
  painted = np.broadcast_to(painted, (*painted.shape[:-1], 3))
  return hatch(magnify(painted, scale), magnify(hidden, scale))


def pixels(levels: Float[np.ndarray, "*b"]) -> UInt8[np.ndarray, "*b"]:
  """Levels in [0, 1] as bytes; what lies outside is cut.

  >>> pixels(np.array([0.0, 0.5, 2.0])).tolist()
  [0, 128, 255]
  """
  return np.rint(255 * np.clip(levels, 0, 1)).astype(np.uint8)


def grid(
  columns: Mapping[str, UInt8[np.ndarray, "b _ _ 3"]], *, scale: int | None = None
) -> Picture:
  """Lays images out, one row an example, one titled column a name, in the mapping's order.

  Columns may differ in size. Small images are magnified by repeating pixels, by `scale` or
  else until each is at least 96 pixels wide and high (see `magnification`).

  Raises:
    BadInput: without columns or rows, or when the columns differ in their number of rows.
  """
  counts = {name: len(images) for name, images in columns.items()}
  if len(set(counts.values())) != 1 or 0 in counts.values():
    raise BadInput(f"a grid needs columns of one and the same number of images, got {counts}")
  factor = lambda images: scale or magnification(*images.shape[1:3])
  large = [magnify(images, factor(images)) for images in columns.values()]
  return sheet(list(zip(*large, strict=True)), list(columns))


def sheet(rows: Sequence[Sequence[Picture]], titles: Sequence[str] = ()) -> Picture:
  """Lays rows of pictures out on a light page, framed, centred in columns under their titles."""
  font = ImageFont.load_default(FONT_SIZE)
  across = max(len(row) for row in rows)
  widths = [math.ceil(font.getlength(title)) for title in titles] or [0] * across
  for row in rows:
    widths = [max(w, p.shape[1]) for w, p in zip(widths, row, strict=False)] + widths[len(row) :]
  heights = [max(p.shape[0] for p in row) for row in rows]
  lefts = _starts(widths, MARGIN)
  tops = _starts(heights, MARGIN + (line_height(font) + GUTTER if titles else 0))
  size = lefts[-1] + widths[-1] + MARGIN, tops[-1] + heights[-1] + MARGIN

  page = Image.new("RGB", size, BACKGROUND)
  draw = ImageDraw.Draw(page)
  for title, left, width in zip(titles, lefts, widths, strict=False):
    draw.text((left + width // 2, MARGIN), title, INK, font, anchor="ma")
  for row, top in zip(rows, tops, strict=True):
    for picture, left, width in zip(row, lefts, widths, strict=False):
      place(page, picture, left + (width - picture.shape[1]) // 2, top)
  return np.array(page)


def place(page: Image.Image, picture: Picture, left: int, top: int) -> None:
  """Pastes a picture on the page, with a frame of one pixel around it."""
  height, width = picture.shape[:2]
  frame = (left - 1, top - 1, left + width, top + height)
  ImageDraw.Draw(page).rectangle(frame, outline=FRAME)
  page.paste(Image.fromarray(picture), (left, top))


def line_height(font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
  """Pixels from the top of an ascender to the bottom of a descender."""
  return math.ceil(font.getbbox("Ápg|", anchor="la")[3])


def _starts(lengths: Sequence[int], first: int) -> list[int]:
  steps = [length + GUTTER for length in lengths[:-1]]
  return np.cumsum([first, *steps]).tolist()


def save_png(path: str | os.PathLike[str], image: Picture) -> None:
  """Writes a PNG whole or not at all, and the folders above it; what stood there is replaced."""
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
  try:
    Image.fromarray(image).save(partial, format="PNG")
    partial.replace(path)
  finally:
    partial.unlink(missing_ok=True)
