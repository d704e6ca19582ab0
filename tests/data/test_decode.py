import io
import struct

import numpy as np
import pytest
from PIL import Image

from maskjax.data import decode
from maskjax.errors import BadInput


def encoded(mode, kind, **kwargs):
  pixels = np.random.default_rng(0).integers(256, size=(9, 7, 3)).astype(np.uint8)
  file = io.BytesIO()
  Image.fromarray(pixels).convert(mode).save(file, kind, **kwargs)
  return file.getvalue()


def sixteen_bits(kind):
  file = io.BytesIO()
  Image.fromarray(np.arange(63, dtype=np.uint16).reshape(9, 7) * 1000).save(file, kind)
  return file.getvalue()


def colour_tiff_of_sixteen_bits():
  tags = [(256, 3, 1, 3), (257, 3, 1, 2), (258, 3, 3, 200), (259, 3, 1, 1), (262, 3, 1, 2)]
  tags += [(273, 4, 1, 220), (277, 3, 1, 3), (278, 3, 1, 2), (279, 4, 1, 36)]
  table = b"".join(struct.pack("<HHII", *tag) for tag in tags)
  head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + table + bytes(4)
  return head.ljust(200, b"\0") + struct.pack("<HHH", 16, 16, 16).ljust(20, b"\0") + bytes(36)


@pytest.mark.parametrize(
  ("data", "mode"),
  [
    (encoded("L", "PNG"), "L"),
    (encoded("LA", "PNG"), "LA"),
    (encoded("RGBA", "PNG"), "RGBA"),
    (encoded("1", "PNG"), "L"),
    (encoded("P", "PNG"), "RGB"),
    (encoded("P", "PNG", transparency=3), "RGBA"),
    (encoded("L", "JPEG"), "L"),
    (encoded("RGB", "JPEG", progressive=True), "RGB"),
    (encoded("RGB", "JPEG", exif=b"Exif\0\0" + bytes(70)), "RGB"),
    (encoded("CMYK", "JPEG"), "RGB"),
    (encoded("RGB", "WEBP"), "RGB"),
    (encoded("RGB", "BMP"), "RGB"),
    (encoded("RGB", "TIFF"), "RGB"),
    (encoded("RGB", "PPM"), "RGB"),
    (sixteen_bits("PNG"), "I;16"),
    (sixteen_bits("TIFF"), "I;16"),
  ],
)
def test_the_header_says_what_decoding_gives(data, mode):
  assert decode.header(data, "x") == (9, 7, mode, False)
  pixels = decode.decode(data, mode, "x")
  assert pixels.shape == (9, 7, decode.CHANNELS[mode])
  assert pixels.dtype == (np.uint16 if mode == "I;16" else np.uint8)


def test_pixels_are_as_stored():
  wanted = np.arange(63, dtype=np.uint16).reshape(9, 7, 1) * 1000
  np.testing.assert_array_equal(decode.decode(sixteen_bits("PNG"), "I;16", "x"), wanted)
  pixels = np.random.default_rng(0).integers(256, size=(9, 7, 3)).astype(np.uint8)
  np.testing.assert_array_equal(decode.decode(encoded("RGB", "PNG"), "RGB", "x"), pixels)


@pytest.mark.parametrize("size", [(9, 7), (300, 200)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("stored", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("how", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpegs_are_decoded_as_pillow_does(stored, mode, size, how):
  pixels = np.random.default_rng(0).integers(256, size=(*size, 3)).astype(np.uint8)
  file = io.BytesIO()
  Image.fromarray(pixels).convert(stored).save(file, "JPEG", **how)
  plain = Image.open(file)
  plain = plain.convert("RGB") if stored == "CMYK" else plain
  found = decode.decode(file.getvalue(), mode, "x")
  np.testing.assert_array_equal(found.squeeze(), np.asarray(plain.convert(mode)))


def test_a_damaged_jpeg_is_told():
  whole = encoded("RGB", "JPEG", quality=95)
  for left in (len(whole) // 2, len(whole) - 30):
    with pytest.raises(BadInput, match="unreadable image x"):
      decode.decode(whole[:left], "RGB", "x")


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (encoded("F", "TIFF"), "32 bits"),
    (encoded("I", "TIFF"), "32 bits"),
    (b"P6\n3 2\n65535\n" + bytes(36), "cuts to 8"),
    (colour_tiff_of_sixteen_bits(), "cuts to 8"),
    (b"GIF89a", "unreadable image x"),
    (b"", "unreadable image x"),
  ],
)
def test_what_is_not_taken_is_told(data, message):
  for read in (decode.header, lambda data, name: decode.decode(data, "RGB", name)):
    with pytest.raises(BadInput) as error:
      read(data, "x")
    assert message in str(error.value)


def test_depths_are_not_converted_into_each_other():
  with pytest.raises(BadInput, match="16 bits"):
    decode.decode(sixteen_bits("PNG"), "L", "x")
  with pytest.raises(BadInput, match="8 bits"):
    decode.decode(encoded("L", "PNG"), "I;16", "x")
