"""Odd zips of images: what Python's zipfile reads in them, or a refusal with its cause."""
# ruff: noqa: E501  (a row, a line)

import io
import pickle
import re
import zipfile
import zlib

import numpy as np
import pytest
from oddities import pack, png, raw_zip
from PIL import Image

from maskjax.data import files
from maskjax.errors import BadInput

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
  return sorted(int(np.asarray(Image.open(io.BytesIO(data))).max()) for data in content)


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
