"""Odd images: what Pillow says is in them, or a refusal with its cause."""
# ruff: noqa: E501  (a row, a line)

import io
import logging
import re

import numpy as np
import pytest
from oddities import Row, ids, laid, png, put
from PIL import Image, ImageOps

from maskjax.data import files
from maskjax.data.__main__ import main
from maskjax.errors import BadInput

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
RGB = Image.fromarray(PIXELS)
ALPHA = np.random.default_rng(1).integers(0, 256, (4, 6, 1), np.uint8)
RGBA = Image.fromarray(np.concatenate([PIXELS, ALPHA], -1))
OTHER = Image.fromarray(PIXELS[::-1])


def saved(image, kind, **kwargs) -> bytes:
  out = io.BytesIO()
  # Copies, since Pillow leaves the options of one format on an image.
  more = [page.copy() for page in kwargs.pop("append_images", ())]
  image.copy().save(out, kind, **kwargs, **({"append_images": more} if more else {}))
  return out.getvalue()


def turned(orientation, kind="JPEG", image=RGB) -> bytes:
  exif = Image.Exif()
  exif[0x112] = orientation
  return saved(image, kind, exif=exif)


def read(data, mode=None, exif=True) -> np.ndarray:
  """What Pillow reads."""
  image = Image.open(io.BytesIO(data))
  image = ImageOps.exif_transpose(image) if exif else image
  pixels = np.asarray(image.convert(mode) if mode else image)
  return pixels[..., None] if pixels.ndim == 2 else pixels


def over(image, colour) -> np.ndarray:
  below = Image.new("RGBA", image.size, (*colour, 255))
  return np.asarray(Image.alpha_composite(below, image.convert("RGBA")).convert("RGB"))


JPEG, PNG = saved(RGB, "JPEG"), saved(RGB, "PNG")
GREY = saved(RGB.convert("L"), "PNG")
PALETTE = RGB.convert("P", palette=Image.Palette.ADAPTIVE)
DEEP = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2000

# Files by name, what the first has to be, arguments, what is logged.
ONE = [
  Row("jpeg", {"a.jpg": JPEG}, read(JPEG)),
  Row("jpeg_of_imagenet", {"a.JPEG": JPEG}, read(JPEG)),
  Row("jfif", {"a.jfif": JPEG}, read(JPEG)),
  Row("jpe", {"a.JPE": JPEG}, read(JPEG)),
  Row("png_called_jpg", {"a.jpg": PNG}, PIXELS),
  Row("jpeg_called_png", {"a.png": JPEG}, read(JPEG)),
  Row("progressive", {"a.jpg": saved(RGB, "JPEG", progressive=True)}, read(saved(RGB, "JPEG", progressive=True))),
  Row("grey_jpeg", {"a.jpg": saved(RGB.convert("L"), "JPEG")}, read(saved(RGB.convert("L"), "JPEG"))),
  Row("cmyk_jpeg", {"a.jpg": saved(RGB.convert("CMYK"), "JPEG")}, read(saved(RGB.convert("CMYK"), "JPEG"), "RGB")),
  *[Row(f"exif_{n}", {"a.jpg": turned(n)}, read(turned(n))) for n in range(1, 9)],
  Row("exif_left_alone", {"a.jpg": turned(6)}, read(turned(6), exif=False), {"exif": False}),
  Row("exif_of_png", {"a.png": turned(6, "PNG")}, read(turned(6, "PNG"))),
  Row("exif_of_webp", {"a.webp": turned(8, "WEBP")}, read(turned(8, "WEBP"))),
  Row("exif_of_tiff", {"a.tif": turned(6, "TIFF")}, read(turned(6, "TIFF"))),
  Row("exif_out_of_range", {"a.jpg": turned(77)}, read(JPEG)),
  Row("exif_damaged", {"a.jpg": saved(RGB, "JPEG", exif=b"Exif\0\0" + bytes(70))}, read(JPEG)),
  Row("mpo_of_a_phone", {"a.jpg": saved(RGB, "MPO", save_all=True, append_images=[OTHER])}, read(saved(RGB, "JPEG")), says="^(?!.*several)"),
  Row("gif", {"a.gif": saved(PALETTE, "GIF")}, read(saved(PALETTE, "GIF"), "RGB")),
  Row("animated_gif", {"a.gif": saved(PALETTE, "GIF", save_all=True, append_images=[OTHER])}, read(saved(PALETTE, "GIF"), "RGB"), says="1 of 1 images have several pages or frames"),
  Row("animated_png", {"a.png": saved(RGB, "PNG", save_all=True, append_images=[OTHER])}, PIXELS, says="several pages or frames"),
  Row("pages_of_tiff", {"a.tiff": saved(RGB, "TIFF", save_all=True, append_images=[OTHER, RGB])}, PIXELS, says="several pages or frames"),
  Row("palette", {"a.png": saved(PALETTE, "PNG")}, np.asarray(PALETTE.convert("RGB"))),
  Row("one_bit", {"a.png": saved(RGB.convert("1"), "PNG")}, np.asarray(RGB.convert("1").convert("L"))[..., None]),
  Row("rgba_alone", {"a.png": saved(RGBA, "PNG")}, np.asarray(RGBA)),
  Row("rgba_on_white", {"a.png": saved(RGBA, "PNG")}, over(RGBA, (255, 255, 255)), {"background": (255, 255, 255)}),
  Row("rgba_on_grey", {"a.png": saved(RGBA, "PNG")}, over(RGBA, (9, 9, 9)), {"background": (9,)}),
  Row("rgba_beside_rgb", {"a.png": saved(RGBA, "PNG"), "b.png": PNG, "c.png": PNG}, PIXELS, says=r"1 of 3 images have transparency, which is dropped \(.*a\.png.*\); data\.background"),
  Row("rgba_beside_rgb_on_black", {"a.png": saved(RGBA, "PNG"), "b.png": PNG}, over(RGBA, (0, 0, 0)), {"background": (0, 0, 0)}, says="^(?!.*dropped)"),
  Row("palette_with_a_hole", {"a.png": saved(PALETTE, "PNG", transparency=0)}, read(saved(PALETTE, "PNG", transparency=0), "RGBA")),
  Row("sixteen_bit_grey", {"a.png": saved(Image.fromarray(DEEP), "PNG")}, DEEP[..., None]),
  Row("bmp", {"a.BMP": saved(RGB, "BMP")}, PIXELS),
  Row("ppm", {"a.ppm": saved(RGB, "PPM")}, PIXELS),
  Row("pbm", {"a.pbm": saved(RGB.convert("1"), "PPM")}, np.asarray(RGB.convert("1").convert("L"))[..., None]),
  Row("grey_beside_colour", {"a.png": GREY, "b.png": PNG, "c.png": PNG}, np.repeat(read(GREY), 3, -1), says="1 of 3 images are converted to mode RGB"),
]  # fmt: skip

BAD = [
  Row("empty_file", {"a.png": b""}, r"unreadable image .*a\.png"),
  Row("text_called_png", {"a.png": b"<html>not found</html>"}, r"unreadable image .*a\.png: not an image .data\.on_error=skip"),
  Row("several_sizes", {"a.png": png(1), "b.png": png(1, (2, 3))}, r"a\.png is 1x1, .*b\.png is 2x3; set data\.size"),
  Row("turned_beside_upright", {"a.jpg": turned(6), "b.jpg": JPEG}, r"b\.jpg is 4x6, .*a\.jpg is 6x4"),
  Row("deep_beside_flat", {"a.png": saved(Image.fromarray(DEEP), "PNG"), "b.png": GREY}, r"16 bits .*a\.png.* 8 bits .*b\.png"),
  Row("floats", {"a.tif": saved(Image.fromarray(DEEP.astype(np.float32)), "TIFF")}, "32 bits a pixel.*npz"),
  Row("videos_only", {"cat/a.mp4": b"", "dog/b.mp4": b""}, r"no images .*2 \.mp4 \(cat/a\.mp4\)"),
  Row("a_colour_of_names", {"a.png": PNG}, r"data\.background is 1 or 3 whole", {"background": "white"}),
  Row("a_colour_of_two", {"a.png": PNG}, r"data\.background is 1 or 3 whole", {"background": (1, 2)}),
  Row("another_on_error", {"a.png": PNG}, "did you mean 'skip'", {"on_error": "skp"}),
]  # fmt: skip


@pytest.mark.parametrize("how", ["folder", "zip"])
@pytest.mark.parametrize("row", ONE, ids=ids)
def test_images_are_what_pillow_says(tmp_path, caplog, row, how):
  content = {f"train/{name}": data for name, data in row.files.items()}
  path = laid(tmp_path, content, how)
  with caplog.at_level(logging.INFO, "maskjax"):
    record, splits = files.open(path, **row.args)
  image = splits["train"][0]["image"]
  np.testing.assert_array_equal(image, row.want)
  assert record.shape == row.want.shape
  assert record.peak == np.iinfo(row.want.dtype).max
  assert re.search(row.says, caplog.text, re.DOTALL)


@pytest.mark.parametrize("row", BAD, ids=ids)
def test_images_that_are_refused(tmp_path, row):
  with pytest.raises(BadInput, match=row.want) as error:
    files.open(put(tmp_path / "set", row.files), **row.args)
  assert "\n" not in str(error.value)


def test_paths_that_are_no_folder(tmp_path):
  with pytest.raises(BadInput, match="does not exist"):
    files.open(str(tmp_path / "none"))
  (tmp_path / "one.png").write_bytes(PNG)
  with pytest.raises(BadInput, match="is a single file: give the folder"):
    files.open(str(tmp_path / "one.png"))


def test_a_look_says_how_images_differ_in_size(tmp_path, capsys):
  sizes = {"a.png": (30, 40), "b.png": (48, 20), "c.png": (30, 40)}
  large = {name: saved(Image.new("L", (w, h)), "PNG") for name, (h, w) in sizes.items()}
  path = put(tmp_path / "set", large)
  assert main([path]) == 0
  out = capsys.readouterr().out
  assert "images differ in size: 30 to 48 high, 20 to 40 wide, read at 64x64\n" in out
  assert "a run needs --config.data.size='(h, w)'" in out
  assert main([path, "size=(8,6)"]) == 0
  out = capsys.readouterr().out
  assert "shape (8, 6, 1)" in out
  assert "a run needs" not in out
