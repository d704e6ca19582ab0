"""Files of other formats: what one is, by how it begins or by its name, and what to do with it."""

from pathlib import PurePosixPath

START = 512  # bytes that tell a format
POINTER = b"version https://git-lfs.github.com/spec/"  # what stands for a file that was not fetched

_ARRAYS = "numpy.savez(...) of its arrays makes an npz file"
_UNPACK = "unpack it"
_ALONE = "data.path is the folder that it lies in, and its name ends as such files' names do"
_FRAMES = "numpy.savez(..., train_videos=frames) makes an npz file of clips"
_TEXTS = "a .txt file of its texts is read, with data.documents, and name=text takes it as it is"
_TABLE = "export it as csv, or its images as files"
# What each suffix means, and the cure.
_KNOWN = {
  **dict.fromkeys((".pkl", ".pickle"), ("a pickle, which is never loaded", _ARRAYS)),
  **dict.fromkeys((".pt", ".pth", ".ckpt"), ("a file of PyTorch, which is never loaded", _ARRAYS)),
  **dict.fromkeys((".h5", ".hdf5"), ("HDF5", _ARRAYS)),
  **dict.fromkeys((".mat",), ("a file of MATLAB", _ARRAYS)),
  **dict.fromkeys((".npy",), ("a single array", "numpy.savez(..., images=array) of it")),
  **dict.fromkeys((".tar", ".tgz", ".7z", ".rar"), ("an archive", _UNPACK)),
  **dict.fromkeys((".xz", ".bz2", ".zst", ".gz"), ("compressed", _UNPACK)),
  **dict.fromkeys((".zip", ".npz"), ("a zip or an npz file", "data.path is it")),
  **dict.fromkeys((".parquet", ".arrow"), ("a table of Arrow", _TABLE)),
  **dict.fromkeys((".xlsx", ".xls", ".ods"), ("a sheet", _TABLE)),
  **dict.fromkeys((".tfrecord",), ("a TFRecord", "data.name is its name in TFDS")),
  **dict.fromkeys((".mdb",), ("LMDB", _TABLE)),
  **dict.fromkeys((".mp4", ".avi", ".mov", ".mkv", ".webm"), ("a video", _FRAMES)),
  **dict.fromkeys((".m4a", ".aac", ".wma"), ("a sound that is not read", "convert it to FLAC")),
  **dict.fromkeys((".heic", ".avif", ".jxl"), ("an image that is not read", "convert it to PNG")),
  **dict.fromkeys((".pdf",), ("a PDF", "a .txt file of its text")),
  **dict.fromkeys((".jsonl", ".json"), ("JSON", _TEXTS)),
  "image": ("an image", _ALONE),
  "sound": ("a recording", _ALONE),
  "idx": ("IDX, as MNIST comes", _ARRAYS),
  "utf16": ("UTF-16", "save it as UTF-8"),
  "lfs": ("a pointer of Git LFS", "git lfs pull fetches the file"),
}
# How files begin, the suffix that such a file has, and how far from its start.
_BEGIN = (
  (0, POINTER, "lfs"),
  (0, b"\x89HDF", ".h5"),
  (0, b"MATLAB ", ".mat"),
  (0, b"\x93NUMPY", ".npy"),
  (257, b"ustar", ".tar"),
  (0, b"7z\xbc\xaf", ".7z"),
  (0, b"Rar!", ".rar"),
  (0, b"\xfd7zXZ", ".xz"),
  (0, b"BZh", ".bz2"),
  (0, b"\x28\xb5\x2f\xfd", ".zst"),
  (0, b"\x1f\x8b", ".gz"),
  (0, b"PAR1", ".parquet"),
  (0, b"ARROW1", ".arrow"),
  (4, b"ftypM4A", ".m4a"),
  (4, b"ftyphei", ".heic"),
  (4, b"ftypavif", ".avif"),
  (4, b"ftyp", ".mp4"),
  (8, b"AVI ", ".avi"),
  (0, b"\x1aE\xdf\xa3", ".mkv"),
  (0, b"%PDF", ".pdf"),
  (0, b"\x89PNG", "image"),
  (0, b"\xff\xd8\xff", "image"),
  (0, b"GIF8", "image"),
  (8, b"WAVE", "sound"),
  (0, b"fLaC", "sound"),
  (0, b"OggS", "sound"),
  (0, b"ID3", "sound"),
  (0, b"\0\0\x08", "idx"),
  (0, b"\xff\xfe", "utf16"),
  (0, b"\xfe\xff", "utf16"),
  *((0, bytes((0x80, protocol)), ".pkl") for protocol in range(2, 6)),
)


def why(start: bytes, name: str = "") -> str:
  """What a file is that is not read, and the cure, as the tail of a message; "" if not known.

  How it begins counts more than its name.

  >>> why(b"PAR1")
  '; it is a table of Arrow: export it as csv, or its images as files'
  >>> why(b"some words", "a.txt")
  ''
  """
  what, cure = _KNOWN.get(_format(start, name), ("", ""))
  return f"; it is {what}: {cure}" if what else ""


def _format(start: bytes, name: str) -> str:
  end = PurePosixPath(name.lower()).suffix
  by_start = (known for at, begin, known in _BEGIN if start[at:].startswith(begin))
  return next(by_start, end if end in _KNOWN else "")
