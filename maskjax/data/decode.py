"""Encoded images to arrays: what a file's header says, and its pixels in one agreed mode."""

import io
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps

from maskjax.errors import BadInput

SUFFIXES = (
  *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp", ".gif", ".webp"),
  *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
)
CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1}
_PLAIN = {"1": "L", "PA": "RGBA", "I;16B": "I;16", "I;16L": "I;16", "I;16N": "I;16"}
_PNG_MODE = {0: "L", 2: "RGB", 4: "LA", 6: "RGBA"}
_JPEG_MODE = {1: "L", 3: "RGB", 4: "RGB"}
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LARGE = 1 << 26  # pixels; whether more are to be decoded is for Pillow to say
_UNREADABLE = (
  OSError,
  SyntaxError,
  ValueError,
  struct.error,
  IndexError,
  Image.DecompressionBombError,
)


class Header(NamedTuple):
  """Size of an image, the mode it is decoded to (a key of `CHANNELS`), and if there is more in it.

  `several` tells of further pages or frames, which are not read; the second picture of a phone's
  MPO, seen from elsewhere or a preview, is none.
  """

  height: int
  width: int
  mode: str
  several: bool = False


class Reading(NamedTuple):
  """How image files are read.

  Attributes:
    exif: whether an image is turned as its EXIF orientation says.
    background: colour behind transparent pixels, one number of 0 to 255 or one for each of red,
      green and blue; None keeps an alpha channel, or drops it where other images have none.
  """

  exif: bool = False
  background: tuple[int, ...] | None = None


STORED = Reading()


def header(data: bytes, name: str, reading: Reading = STORED) -> Header:
  """What the first bytes of an image file say, without decoding it; BadInput names the file."""
  try:
    found = _png(data, name, reading) or _jpeg(data, reading) or _pillow(data, name, reading)
  except BadInput:
    raise
  except _UNREADABLE as error:
    raise unreadable(name, error) from error
  solid = {"RGBA": "RGB", "LA": "L"}.get(found.mode) if reading.background is not None else None
  return found._replace(mode=solid) if solid else found


def decode(data: bytes, mode: str, name: str, reading: Reading = STORED) -> np.ndarray:
  """The pixels of an image file as [h, w, c]: uint8, or uint16 for mode "I;16".

  Sixteen-bit grey is kept at sixteen bits; sixteen-bit colour, which Pillow would cut to eight, is
  refused. BadInput names the file.
  """
  try:
    if (quick := _jpeg_pixels(data, mode, reading)) is not None:
      return quick
    if data.startswith(b"\x89PNG"):
      _png(data, name, STORED)
    with Image.open(io.BytesIO(data)) as file:
      _refuse_deep_colour(file, name)
      image: Image.Image = file
      if reading.exif and _orientation(file) > 1:
        image = ImageOps.exif_transpose(file)
      if image.mode != mode:
        image = _convert(image, mode, name, reading.background)
      pixels = np.asarray(image)
  except BadInput:
    raise
  except _UNREADABLE as error:
    raise unreadable(name, error) from error
  return pixels[..., None] if pixels.ndim == 2 else pixels


def vote(headers: Mapping[str, Header]) -> str:
  """The most common mode, the one with more channels at a tie.

  >>> vote({"a": Header(1, 1, "L"), "b": Header(1, 1, "RGB"), "c": Header(1, 1, "L")})
  'L'
  """
  modes = Counter(h.mode for h in headers.values())
  if "I;16" in modes and len(modes) > 1:
    deep = next(n for n, h in headers.items() if h.mode == "I;16")
    flat = next(n for n, h in headers.items() if h.mode != "I;16")
    raise BadInput(f"images of 16 bits ({deep}) and of 8 bits ({flat}) in one data set")
  return max(modes, key=lambda mode: (modes[mode], CHANNELS[mode]))


def unreadable(name: str, error: Exception) -> BadInput:
  """The error for a file that is no image, or a damaged one."""
  why = str(error).splitlines()[0] if str(error) else type(error).__name__
  why = "not an image" if why.startswith("cannot identify image file") else why
  return BadInput(f"unreadable image {name}: {why} (data.on_error=skip leaves such files out)")


def colour(given: Sequence[int] | None) -> tuple[int, ...] | None:
  """The background that a user gives, checked."""
  if given is None:
    return None
  values = tuple(given) if isinstance(given, Sequence) else (given,)
  whole = all(isinstance(v, int | np.integer) and 0 <= v <= 255 for v in values)
  if len(values) not in (1, 3) or not whole:
    raise BadInput(f"data.background is 1 or 3 whole numbers of 0 to 255, got {given!r}")
  return tuple(int(v) for v in values)


def _png(data: bytes, name: str, reading: Reading) -> Header | None:
  """Header of a PNG; None for other files and for what is told further down.

  That are the mode of a palette, an orientation, and whether frames follow.
  """
  if not data.startswith(b"\x89PNG\r\n\x1a\n"):
    return None
  width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
  if depth == 16 and kind != 0:
    raise _deep(name)
  later = b"acTL" in data[:256] or (reading.exif and b"eXIf" in data)
  if kind not in _PNG_MODE or later:
    return None
  return Header(height, width, "I;16" if depth == 16 else _PNG_MODE[kind])


def _jpeg(data: bytes, reading: Reading) -> Header | None:
  """Header of a JPEG, whose segments are walked up to the frame; None for other files."""
  if not data.startswith(b"\xff\xd8"):
    return None
  at = 2
  while data[at] == 0xFF:
    marker, length = struct.unpack(">BH", data[at + 1 : at + 4])
    if marker == 0xE1 and reading.exif and data.startswith(b"Exif", at + 4):
      return None  # an orientation, perhaps
    if marker in _JPEG_FRAMES:
      height, width, channels = struct.unpack(">HHB", data[at + 5 : at + 10])
      return Header(height, width, _JPEG_MODE[channels]) if channels in _JPEG_MODE else None
    if marker == 0xFF or length < 2:
      return None
    at += 2 + length
  return None


def _jpeg_pixels(data: bytes, mode: str, reading: Reading) -> np.ndarray | None:
  """Pixels of a sound JPEG of this mode; None for all that the whole reader has to look at.

  Pillow walks the segments in Python, which takes as long as decoding a small image.
  """
  head = _jpeg(data, reading)
  if head is None or head.mode != mode or head.height * head.width > _LARGE:
    return None
  try:
    image = Image.frombytes(mode, (head.width, head.height), data, "jpeg", mode, "")
  except ValueError:  # damaged, or of other channels
    return None
  pixels = np.asarray(image)
  return pixels[..., None] if pixels.ndim == 2 else pixels


def _pillow(data: bytes, name: str, reading: Reading) -> Header:
  with Image.open(io.BytesIO(data)) as image:
    _refuse_deep_colour(image, name)
    several = image.format != "MPO" and getattr(image, "is_animated", False)
    sides = image.height, image.width
    if reading.exif and _orientation(image) > 4:
      sides = sides[::-1]
    return Header(*sides, _plain(image, name), several)


def _orientation(image: ImageFile.ImageFile) -> int:
  """EXIF's orientation, 1 to 8, of which 5 to 8 swap height and width; 1 where it is damaged.

  Pillow itself turns a TIFF when it is read, and tells its size as turned.
  """
  if image.format == "TIFF":
    return 1
  try:
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
  except (SyntaxError, struct.error):
    return 1
  return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _refuse_deep_colour(image: ImageFile.ImageFile, name: str) -> None:
  """TIFF and PPM of 16 bits a channel open as plain RGB; only their details tell."""
  deep = False
  if image.mode in ("RGB", "RGBA", "RGBX", "CMYK", "LA"):
    if image.format == "TIFF":
      bits_per_sample = image.tag_v2.get(258, (8,))  # type: ignore[attr-defined]
      deep = max(bits_per_sample) > 8
    elif image.format == "PPM":
      args = image.tile[0].args  # ("RGB", largest value), or "RGB" where that is 255
      deep = isinstance(args, tuple) and args[1] > 255
  if deep:
    raise _deep(name)


def _deep(name: str) -> BadInput:
  return BadInput(f"{name} has 16 bits a colour, which Pillow cuts to 8; give it as npz")


def _plain(image: Image.Image, name: str) -> str:
  """The mode of `CHANNELS` that holds all of an image."""
  if image.mode in ("I", "F"):
    raise BadInput(f"{name} is read at 32 bits a pixel, only 8 and 16 are taken; give it as npz")
  if image.mode == "P":
    return "RGBA" if "transparency" in image.info else "RGB"
  mode = _PLAIN.get(image.mode, image.mode)
  return mode if mode in CHANNELS else "RGB"


def _convert(
  image: Image.Image, mode: str, name: str, background: Sequence[int] | None
) -> Image.Image:
  plain = _plain(image, name)
  if (plain == "I;16") != (mode == "I;16"):
    bits = {True: 16, False: 8}
    raise BadInput(f"{name} has {bits[plain == 'I;16']} bits, the data set {bits[mode == 'I;16']}")
  image = image.convert(plain)
  if background is not None and plain in ("LA", "RGBA"):
    behind = tuple(background) * (3 // len(background))
    below = Image.new("RGBA", image.size, (*behind, 255))
    image = Image.alpha_composite(below, image.convert("RGBA")).convert("RGB")
  return image.convert(mode)
