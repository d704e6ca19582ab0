"""Data in an object store: one file, copied once, named by its URL."""

import io
import re
import tempfile
import zipfile

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from maskjax.data import __main__ as look
from maskjax.data import fetched, pipeline
from maskjax.errors import BadInput

URL = "memory://fetched"


@pytest.fixture
def files(tmp_path, monkeypatch):
  """A store in memory, and a folder for copies of its own."""
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
  store = MemoryFileSystem()
  yield store
  store.rm("/fetched", recursive=True)


def npz(count):
  """The bytes of an npz file of images."""
  out = io.BytesIO()
  np.savez(out, train_images=np.zeros((count, 4, 4, 1), np.uint8))
  return out.getvalue()


def pictures():
  """The bytes of a zip of two pictures of two classes."""
  out = io.BytesIO()
  with zipfile.ZipFile(out, "w") as archive:
    for name in ("a/1.png", "b/2.png"):
      image = io.BytesIO()
      Image.new("L", (4, 4)).save(image, "PNG")
      archive.writestr(f"train/{name}", image.getvalue())
  return out.getvalue()


@pytest.mark.parametrize(
  ("name", "file", "data", "more", "kind"),
  [
    ("npz", "images.npz", npz(3), {}, "image"),
    ("zip", "images.zip", pictures(), {"size": (4, 4)}, "image"),
    ("text", "all.txt", b"to be or not to be\n" * 40, {"length": 8}, "text"),
  ],
)
def test_a_file_in_a_store_is_what_it_is_here(
  files, capsys, tmp_path, name, file, data, more, kind
):
  files.pipe_file(f"/fetched/{file}", data)
  (tmp_path / file).write_bytes(data)
  there, here = (
    pipeline.opened(name, place, more) for place in (f"{URL}/{file}", str(tmp_path / file))
  )
  assert there[0] == here[0]
  assert there[0].kind == kind
  for example, same in zip(there[1]["train"], here[1]["train"], strict=False):
    for key in same:
      np.testing.assert_array_equal(example[key], same[key])
  assert look.main([f"{URL}/{file}", *(f"{k}={v}" for k, v in more.items())]) == 0


def test_it_is_copied_once_and_anew_where_it_has_changed(files, monkeypatch):
  got, get = [], MemoryFileSystem.get_file
  monkeypatch.setattr(
    MemoryFileSystem, "get_file", lambda s, a, b, **k: (got.append(a), get(s, a, b, **k))
  )
  for count in (3, 3, 5, 5):
    if len(got) != (count == 5) + 1:
      files.pipe_file("/fetched/x.npz", npz(count))
    _, splits = pipeline.opened("npz", f"{URL}/x.npz", {})
    assert sum(map(len, splits.values())) == count
  assert len(got) == 2


def test_errors_name_the_url(files):
  files.pipe_file("/fetched/x.npz", b"no npz")
  files.pipe_file("/fetched/more/y.npz", b"1")
  for place, told in (("x.npz", "is not an npz file"), ("more", "is a folder: of data in a store")):
    with pytest.raises(BadInput, match=f"{re.escape(URL)}/{place}.* {told}"):
      pipeline.opened("npz", f"{URL}/{place}", {})
  with pytest.raises(BadInput, match=f"{URL}/z.npz cannot be read: FileNotFoundError"):
    pipeline.opened("npz", f"{URL}/z.npz", {})
  with fetched.local("here") as place:
    assert place == "here"
