"""Odd images and zips: what Pillow and zipfile say is in them, or a refusal with its cause."""
# ruff: noqa: E501  (a row, a line)

import io
import logging
import pickle
import re
import zipfile
import zlib

import numpy as np
import pytest
from oddities import Row, ids, laid, pack, png, put, raw_zip
from PIL import Image, ImageOps

from maskjax.data import files
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


NAMES = ("train/Zürich/ä.png", "train/Bern/b.png")
WANT = {"Zürich": 1, "Bern": 2}
CONTENT = dict(zip(NAMES, (png(1), png(2)), strict=True))


def decomposed(name):
  import unicodedata

  return unicodedata.normalize("NFD", name).encode()


def encoded(code="utf-8", around=""):
  """Names in a code page, as programs of other systems write them without the flag of UTF-8."""
  return {f"{around}{name}".encode(code): data for name, data in CONTENT.items()}


def raw(names, **kwargs):
  return lambda path: raw_zip(path, names, **kwargs)


def plain(method=zipfile.ZIP_STORED, *, change=lambda archive: None, **kwargs):
  """As Python's zipfile writes it."""

  def make(path):
    with zipfile.ZipFile(path, "w", method, **kwargs) as archive:
      for name, data in CONTENT.items():
        archive.writestr(name, data)
      change(archive)

  return make


def members(**fields):
  """Members of which the headers say more than they have to."""

  def make(path):
    with zipfile.ZipFile(path, "w") as archive:
      for name, data in CONTENT.items():
        member = zipfile.ZipInfo(name)
        for field, value in fields.items():
          setattr(member, field, value)
        archive.writestr(member, data)

  return make


class Pipe(io.RawIOBase):
  """A file that cannot be sought, as standard output: sizes then follow the members."""

  def __init__(self, path):
    self.file = path.open("wb")

  def writable(self):
    return True

  def write(self, data):
    return self.file.write(data)


def streamed(path):
  pipe = Pipe(path)
  plain(zipfile.ZIP_DEFLATED)(pipe)
  pipe.file.close()


def zip64(path):
  with zipfile.ZipFile(path, "w") as archive:
    for name, data in CONTENT.items():
      with archive.open(name, "w", force_zip64=True) as file:
        file.write(data)


def appended(path):
  for name, data in CONTENT.items():
    with zipfile.ZipFile(path, "a") as archive:
      archive.writestr(name, data)


def around(before=b"", after=b""):
  def make(path):
    plain(zipfile.ZIP_DEFLATED)(path)
    path.write_bytes(before + path.read_bytes() + after)

  return make


def backwards(path):
  with zipfile.ZipFile(path, "w") as archive:
    for name, data in reversed(CONTENT.items()):
      archive.writestr(name, data)
    archive.filelist.reverse()  # the directory tells members otherwise than they lie


def twice(path):
  with pytest.warns(UserWarning, match="Duplicate name"):
    pack(path, [("train/Bern/b.png", png(9)), *CONTENT.items()])


MAC = {b"__MACOSX/train/._a.png": b"", b".DS_Store": b""}
NOTES = {b"read.me": b"", b"train/x.json": b"{}"}
FOLDERS = {b"train/": b"", b"train/Bern/": b""}

# How a zip is made, and what is logged; in each lie the two images of `CONTENT`.
ZIPS = {
  "macos": (raw({decomposed(n): d for n, d in CONTENT.items()} | MAC), ""),
  "macos_with_a_folder": (raw({b"photos/" + decomposed(n): d for n, d in CONTENT.items()} | {b"__MACOSX/photos/._a.png": b""}), ""),
  "windows": (raw({n.replace(b"/", b"\\"): d for n, d in encoded("cp437").items()}), ""),
  "windows_with_a_folder": (raw({n.replace(b"/", b"\\"): d for n, d in encoded("cp437", "a/b/").items()}), ""),
  "windows_of_code_page_437": (raw(encoded("cp437")), ""),
  "utf8_without_the_flag": (raw(encoded()), ""),
  "utf8_with_the_flag": (raw(encoded(), flags=0x800), ""),
  "dot_slash": (raw(encoded(around="./")), ""),
  "folders_as_members": (raw(FOLDERS | encoded()), ""),
  "folder_around": (raw(encoded(around="a/b/")), ""),
  "other_files": (raw(encoded() | NOTES), r"passed over 1 \.me \(read\.me\), 1 \.json"),
  "files_of_windows": (raw(encoded() | {b"train/Thumbs.db": b"x", b"desktop.ini": b""}), "^(?!.*passed)"),
  "upper_case": (raw({n.replace(b".png", b".PNG"): d for n, d in encoded().items()}), ""),
  "stored": (plain(), ""),
  "deflated": (plain(zipfile.ZIP_DEFLATED), ""),
  "deflated_at_most": (plain(zipfile.ZIP_DEFLATED, compresslevel=9), ""),
  "deflated_not_at_all": (plain(zipfile.ZIP_DEFLATED, compresslevel=0), ""),
  "written_to_a_pipe": (streamed, ""),
  "zip64": (zip64, ""),
  "appended_to": (appended, ""),
  "directory_in_another_order": (backwards, ""),
  "selfextracting": (around(before=b"MZ program" * 9), ""),
  "bytes_after_the_end": (around(after=b"\r\n"), ""),
  "comment": (plain(change=lambda archive: setattr(archive, "comment", b"by a program")), ""),
  "comments_of_members": (members(comment=b"a picture"), ""),
  "unknown_extra_fields": (members(extra=b"\xfe\xca\4\0abcd"), ""),
  "permissions_of_unix": (members(create_system=3, external_attr=0o100600 << 16), ""),
  "made_on_windows": (members(create_system=0, external_attr=0x20), ""),
  "dates_of_the_year_2107": (members(date_time=(2107, 12, 31, 23, 59, 58)), ""),
  "a_member_named_twice": (twice, r"1 members are there twice, the last one counts \(train/Bern/b\.png\)"),
}  # fmt: skip


def classes(record, source):
  examples = [source[i] for i in range(len(source))]
  return {record.class_names[e["label"]]: int(e["image"].max()) for e in examples}


def held(path):
  """The values of the images in a zip, by zipfile, whose last member of a name counts, and Pillow."""
  with zipfile.ZipFile(path) as archive:
    assert archive.testzip() is None
    images = [name for name in {*archive.namelist()} if name.lower().endswith(".png")]
    content = [archive.read(name) for name in images if "__MACOSX" not in name]
  return sorted(int(read(data).max()) for data in content)


@pytest.mark.parametrize("name", ZIPS)
def test_zips_are_what_zipfile_says(tmp_path, caplog, name):
  make, says = ZIPS[name]
  make(tmp_path / "s.zip")
  record, splits = files.open(str(tmp_path / "s.zip"))
  found = classes(record, splits["train"])
  assert found == WANT
  assert sorted(found.values()) == held(tmp_path / "s.zip")
  assert re.search(says, caplog.text, re.DOTALL)
  again = pickle.loads(pickle.dumps(splits["train"]))  # as worker processes get it
  assert classes(record, again) == WANT


def squeezed(method):
  return lambda path: pack_one(path, method)


def pack_one(path, method):
  with zipfile.ZipFile(path, "w", method) as archive:
    archive.writestr("train/a.png", png(1))


def cut(count):
  def make(path):
    pack(path, CONTENT)
    path.write_bytes(path.read_bytes()[:-count])

  return make


ODD_ZIPS = {
  "bzip2": (squeezed(zipfile.ZIP_BZIP2), "neither stored nor deflated"),
  "lzma": (squeezed(zipfile.ZIP_LZMA), "neither stored nor deflated"),
  "encrypted": (raw({b"train/a.png": png(1)}, flags=1), "is encrypted"),
  "empty": (lambda path: pack(path, {}), "no images"),
  "of_text": (lambda path: pack(path, {"a.txt": b"x"}), r"no images .*1 \.txt \(a\.txt\)"),
  "of_a_zip": (lambda path: pack(path, {"a.zip": b"x"}), r"no images .*1 \.zip \(a\.zip\)"),
  "no_zip": (lambda path: path.write_bytes(b"nothing"), "neither a folder nor a readable zip"),
  "nothing_in_it": (lambda path: path.write_bytes(b""), "neither a folder nor a readable zip"),
  "a_tar": (lambda path: path.write_bytes(zlib.compress(b"x" * 999)), "neither a folder nor a readable"),
  "outside": (lambda path: pack(path, {"../a.png": png(1)}), "points outside"),
  "outside_of_windows": (lambda path: pack(path, {"..\\a.png": png(1)}), "points outside"),
  "a_drive": (lambda path: pack(path, {"C:\\a.png": png(1)}), "points outside"),
  "absolute": (lambda path: pack(path, {"/a.png": png(1)}), "points outside"),
  "cut_by_a_byte": (cut(1), r"s\.zip"),
  "cut_by_its_end": (cut(30), r"s\.zip"),
  "cut_by_its_directory": (cut(60), r"s\.zip"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_ZIPS)
def test_zips_that_are_refused(tmp_path, name):
  make, message = ODD_ZIPS[name]
  make(tmp_path / "s.zip")
  with pytest.raises(BadInput, match=message) as error:
    files.open(str(tmp_path / "s.zip"))
  assert "\n" not in str(error.value)


def test_a_limit_of_size_is_not_ours(tmp_path):
  with pytest.raises(BadInput, match="does not exist"):
    files.open(str(tmp_path / "none"))
  (tmp_path / "one.png").write_bytes(PNG)
  with pytest.raises(BadInput, match="is a single file: give the folder"):
    files.open(str(tmp_path / "one.png"))
