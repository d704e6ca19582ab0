"""Formats that are not read: what each is, and the cure, is said before any kind is asked for."""
# ruff: noqa: E501  (a row, a line)

import gzip
import io
import logging
import lzma
import pickle
import re
import tarfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from oddities import pack, png, put, tone

from maskjax.data import arrays, text
from maskjax.data.__main__ import main
from maskjax.errors import BadInput


def tar(mode="w"):
  out = io.BytesIO()
  with tarfile.open(fileobj=out, mode=mode) as archive:
    archive.addfile(tarfile.TarInfo("0.jpg"))
  return out.getvalue()


def parquet():
  out = io.BytesIO()
  pyarrow.parquet.write_table(pyarrow.table({"image": [{"bytes": b"x"}], "label": [0]}), out)
  return out.getvalue()


def npy():
  out = io.BytesIO()
  np.save(out, np.zeros((2, 3, 3)))
  return out.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n"
# Name, content, and what is said of the file and of a folder of it.
FORMATS = {
  "cifar10_of_python": ("cifar-10-batches-py/data_batch_1", pickle.dumps({b"data": 1}), "is a pickle, which is never loaded: numpy.savez"),
  "pickle_by_name": ("x.pkl", b"(dp0\n.", "is a pickle"),
  "pytorch": ("x.pt", b"\x80\x02\x8a\n", "is a pickle"),
  "hdf5": ("train.h5", b"\x89HDF\r\n\x1a\n" + bytes(9), "is HDF5: numpy.savez"),
  "hdf5_of_another_name": ("train.nc", b"\x89HDF\r\n\x1a\n" + bytes(9), "is HDF5"),
  "matlab_of_svhn": ("train_32x32.mat", b"MATLAB 5.0 MAT-file" + bytes(99), "is a file of MATLAB"),
  "npy": ("x_train.npy", npy(), "is a single array: numpy.savez"),
  "webdataset": ("shard-000000.tar", tar(), "is an archive: unpack it"),
  "tar_gz": ("x.tar.gz", tar("w:gz"), "is compressed: unpack it"),
  "xz": ("x.txt.xz", lzma.compress(b"words"), "is compressed"),
  "parquet_of_hugging_face": ("data/train-00000-of-00001.parquet", parquet(), "is a table of Arrow: export it"),
  "idx_of_mnist": ("t10k-images-idx3-ubyte", b"\0\0\x08\x03" + bytes(20), "is IDX, as MNIST comes"),
  "tfrecord": ("x.tfrecord", b"\x0a\0\0\0", "is a TFRecord: data.name"),
  "lmdb": ("data.mdb", bytes(9), "is LMDB"),
  "video": ("x.mp4", b"\0\0\0 ftypisom" + bytes(9), "is a video: numpy.savez"),
  "m4a": ("x.m4a", b"\0\0\0 ftypM4A " + bytes(9), "is a sound that is not read: convert"),
  "heic": ("x.heic", b"\0\0\0 ftypheic" + bytes(9), "is an image that is not read: convert"),
  "pdf": ("x.pdf", b"%PDF-1.4", "is a PDF"),
  "jsonl": ("x.jsonl", b'{"text": "a"}\n', "is JSON: a .txt file of its texts"),
  "sheet": ("x.xlsx", b"", "is a sheet: export it as csv"),
  "image_without_a_suffix": ("x", png(1), "is an image: data.path is the folder"),
}  # fmt: skip


def told(words, capsys):
  assert main(words) == 2
  (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
  return line


@pytest.mark.parametrize("name", FORMATS)
def test_other_formats_are_named_with_the_cure(tmp_path, capsys, name):
  file, content, says = FORMATS[name]
  path = put(tmp_path / "set", {file: content})
  assert says in told([f"{path}/{file}"], capsys)
  assert says in told([path], capsys)


@pytest.mark.parametrize(
  ("content", "says"),
  [
    ({"a.png": png(1)}, "data.path is the folder that it lies in"),
    ({"a.wav": tone(1)}, "data.path is the folder that it lies in"),
    ({"a.bin": b"ab\0\1"}, "neither text nor of a format that is known"),
    ({"a.bin": b"caf\xe9 "}, "neither text nor of a format that is known"),
    ({"a.txt": "words".encode("utf-16")}, "not UTF-8: byte 0 .*; it is UTF-16: save it as UTF-8"),
    ({"a.csv": "a\n1\n".encode("utf-16")}, "not UTF-8: byte 0 .*; it is UTF-16: save it as UTF-8"),
    ({"a.txt": LFS}, "is a pointer of Git LFS: git lfs pull"),
    ({"a.csv": LFS}, "is a pointer of Git LFS: git lfs pull"),
    ({"a.npz": LFS}, "is a pointer of Git LFS: git lfs pull"),
    ({"a.npz": b"ab"}, "is no zip and no npz file, though it is called so"),
    ({"a.txt.gz": gzip.compress(png(1))}, "not UTF-8: .*; it is an image"),
  ],
  ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_single_files_that_are_not_read(tmp_path, capsys, content, says):
  path = put(tmp_path / "set", content)
  assert re.search(says, told([f"{path}/{next(iter(content))}"], capsys))


@pytest.mark.parametrize("open_", [arrays.open, text.open])
def test_readers_name_other_formats_too(tmp_path, open_):
  (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
  with pytest.raises(BadInput, match=r"is HDF5: numpy\.savez"):
    open_(str(tmp_path / "x.h5"))


MOST = {
  "pictures_with_notes": ({"a.png": png(1), "a.txt": b"cat", "b.png": png(2), "b.txt": b"dog"}, "folder"),
  "sounds_with_texts": ({"wav48/a.wav": tone(1, 99), "txt/a.txt": b"hello", "txt/b.txt": b""}, "wav"),
  "sounds_with_pictures": ({"wav/a.wav": tone(1, 999), "wav/b.wav": tone(2, 999), "pictures/a.png": png(1), "pictures/b.png": png(2)}, "wav"),
  "texts": ({"a.txt": b"words " * 99, "b.csv": b"a\n1\n"}, "text"),
  "a_table": ({"a.csv": b"a,b\n" + b"1,2\n" * 9, "classes.txt": b"World"}, "is a folder of tables: data.path is one of them, such as "),
  "one_npz": ({"pathmnist.npz": b"PK\3\4"}, "pathmnist.npz is a zip or an npz file: data.path is it"),
}  # fmt: skip


@pytest.mark.parametrize("name", MOST)
def test_the_kind_is_what_most_bytes_are(tmp_path, capsys, name):
  content, says = MOST[name]
  path = put(tmp_path / "set", content)
  if " " in says:
    assert says in told([path], capsys)
  else:
    assert main([path]) == 0
    assert f"data.name={says}," in capsys.readouterr().out
    assert main([pack(tmp_path / "s.zip", content)]) == 0
    assert f"data.name={says}," in capsys.readouterr().out


def test_what_is_logged_is_printed_once(tmp_path, capsys, caplog):
  path = put(tmp_path / "set", {"train/a.png": png(1), "x.xml": b""})
  with caplog.at_level(logging.INFO):  # the root has a handler, as absl's set-up leaves one
    assert main([path]) == 0
  assert capsys.readouterr().out.count("passed over 1 .xml") == 1
  assert "passed over" not in caplog.text
  assert logging.getLogger("maskjax").propagate
