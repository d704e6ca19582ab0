"""Encoded images to arrays: what a file's header says, and its pixels in one agreed mode."""

import io
import struct
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile

from maskjax.errors import BadInput

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1}
_PLAIN = {"1": "L", "PA": "RGBA", "I;16B": "I;16", "I;16L": "I;16", "I;16N": "I;16"}
_PNG_MODE = {0: "L", 2: "RGB", 4: "LA", 6: "RGBA"}
_JPEG_MODE = {1: "L", 3: "RGB", 4: "RGB"}
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_UNREADABLE = (
  OSError,
  SyntaxError,
  ValueError,
  struct.error,
  IndexError,
  Image.DecompressionBombError,
)


class Header(NamedTuple):
  """Size of an image and the mode it is decoded to: a key of `CHANNELS`."""

  height: int
  width: int
  mode: str


def header(data: bytes, name: str) -> Header:
  """What the first bytes of an image file say, without decoding it; BadInput names the file."""
  try:
    return _png(data, name) or _jpeg(data) or _pillow(data, name)
  except BadInput:
    raise
  except _UNREADABLE as error:
    raise unreadable(name, error) from error


def decode(data: bytes, mode: str, name: str) -> np.ndarray:
  """The pixels of an image file as [h, w, c]: uint8, or uint16 for mode "I;16".

  Pixels are as stored: an orientation tag is not applied. Sixteen-bit grey is kept at sixteen bits;
  sixteen-bit colour, which Pillow would cut to eight, is refused. BadInput names the file.
  """
  try:
    if data.startswith(b"\x89PNG"):
      _png(data, name)
    with Image.open(io.BytesIO(data)) as image:
      _refuse_deep_colour(image, name)
      pixels = np.asarray(image if image.mode == mode else _convert(image, mode, name))
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


def _png(data: bytes, name: str) -> Header | None:
  """Header of a PNG; None for other files and for palettes, whose mode stands further down."""
  if not data.startswith(b"\x89PNG\r\n\x1a\n"):
    return None
  width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
  if depth == 16 and colour != 0:
    raise _deep(name)
  if colour not in _PNG_MODE:
    return None
  return Header(height, width, "I;16" if depth == 16 else _PNG_MODE[colour])


def _jpeg(data: bytes) -> Header | None:
  """Header of a JPEG, whose segments are walked up to the frame; None for other files."""
  if not data.startswith(b"\xff\xd8"):
    return None
  at = 2
  while data[at] == 0xFF:
    marker, length = struct.unpack(">BH", data[at + 1 : at + 4])
    if marker in _JPEG_FRAMES:
      height, width, channels = struct.unpack(">HHB", data[at + 5 : at + 10])
      return Header(height, width, _JPEG_MODE[channels]) if channels in _JPEG_MODE else None
    if marker == 0xFF or length < 2:
      return None
    at += 2 + length
  return None


def _pillow(data: bytes, name: str) -> Header:
  with Image.open(io.BytesIO(data)) as image:
    _refuse_deep_colour(image, name)
    return Header(image.height, image.width, _plain(image, name))


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


def _convert(image: Image.Image, mode: str, name: str) -> Image.Image:
  plain = _plain(image, name)
  if (plain == "I;16") != (mode == "I;16"):
    bits = {True: 16, False: 8}
    raise BadInput(f"{name} has {bits[plain == 'I;16']} bits, the data set {bits[mode == 'I;16']}")
  return image.convert(plain).convert(mode)
