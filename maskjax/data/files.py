"""Images in a folder or a zip: which files, which split, which class, and their bytes."""

import hashlib
import logging
import mmap
import os
import pathlib
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from maskjax.data.decode import SUFFIXES
from maskjax.data.images import Subset, open_images
from maskjax.data.source import Source
from maskjax.errors import BadInput
from maskjax.record import Record

_log = logging.getLogger("maskjax")
SPLITS = ("train", "test", "val", "validation")
CACHE_BYTES = 512 << 20


class Layout(NamedTuple):
  """Which files make up each split, as indices into the given names, and the class of each file."""

  splits: dict[str, list[int]]
  labels: list[int | None]
  class_names: tuple[str, ...]


def open_folder(
  path: str,
  *,
  size: tuple[int, int] | None = None,
  on_error: str = "raise",
  cache_bytes: int = CACHE_BYTES,
) -> tuple[Record, dict[str, Source]]:
  """Images under a folder: `split/class/x.jpg`, `class/x.jpg`, `split/x.jpg` or `x.jpg`.

  Folders at the top are splits when all are named train, test, val or validation; without splits a
  tenth of the files, by a hash of their name, is the test split. Examples are in order of name.
  """
  root = pathlib.Path(path)
  if not path or not root.exists():
    raise BadInput(f"data.path={path!r} does not exist")
  if not root.is_dir():
    raise BadInput(f"data.path={path!r} is not a folder")
  names = sorted(_walk(root))
  if not names:
    raise BadInput(f"no images under {path!r} (looked for {' '.join(SUFFIXES)})")
  layout = arrange(names)
  files = _Folder(str(root), names, layout.labels)
  splits = {split: Subset(files, indices) for split, indices in layout.splits.items()}
  return open_images(
    splits, layout.class_names, size=size, on_error=on_error, cache_bytes=cache_bytes
  )


def open_zip(
  path: str,
  *,
  size: tuple[int, int] | None = None,
  on_error: str = "raise",
  cache_bytes: int = CACHE_BYTES,
) -> tuple[Record, dict[str, Source]]:
  """Images in a zip, laid out as for `open_folder`, one folder around all of them allowed."""
  if not path or not os.path.isfile(path):
    raise BadInput(f"data.path={path!r} does not exist")
  members = sorted(_members(path), key=lambda member: member.filename)
  if not members:
    raise BadInput(f"no images in {path!r} (looked for {' '.join(SUFFIXES)})")
  layout = arrange(_unwrap([member.filename for member in members]))
  files = _Zip(path, members, layout.labels)
  splits = {split: Subset(files, indices) for split, indices in layout.splits.items()}
  return open_images(
    splits, layout.class_names, size=size, on_error=on_error, cache_bytes=cache_bytes
  )


def arrange(names: Sequence[str]) -> Layout:
  """Splits and classes of relative file names.

  >>> arrange(["test/cat/1.png", "train/cat/2.png", "train/dog/3.png"])
  Layout(splits={'test': [0], 'train': [1, 2]}, labels=[0, 0, 1], class_names=('cat', 'dog'))
  """
  parts = [tuple(name.split("/")) for name in names]
  splits: dict[str, list[int]] = {}
  if all(len(p) > 1 and p[0] in SPLITS for p in parts):
    for i, p in enumerate(parts):
      splits.setdefault(p[0], []).append(i)
    parts = [p[1:] for p in parts]
  else:
    splits = by_hash(names)
    counts = ", ".join(f"{split} {len(indices)}" for split, indices in splits.items())
    _log.info("no split folders: split by a hash of the names into %s", counts)
  for indices in splits.values():
    flat = [i for i in indices if len(parts[i]) == 1]
    deep = [i for i in indices if len(parts[i]) > 1]
    if flat and deep:
      a, b = names[flat[0]], names[deep[0]]
      raise BadInput(f"images both outside and inside class folders: {a} and {b}")
  class_names = tuple(sorted({p[0] for p in parts if len(p) > 1}))
  index = {name: i for i, name in enumerate(class_names)}
  return Layout(splits, [index[p[0]] if len(p) > 1 else None for p in parts], class_names)


def by_hash(names: Sequence[str]) -> dict[str, list[int]]:
  """About 90/10 % of the names, each by its own hash, so that new files move no old ones.

  Of two names or more at least one goes to either side.
  """
  draw = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64 for name in names]
  order = np.argsort(draw, kind="stable")
  count = sum(d < 0.1 for d in draw)
  if len(names) > 1:
    count = min(max(count, 1), len(names) - 1)
  test = sorted(order[:count].tolist())
  splits = {"train": sorted(order[count:].tolist()), "test": test}
  return {split: indices for split, indices in splits.items() if indices}


def _is_image(name: str) -> bool:
  parts = name.split("/")
  hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
  return not hidden and parts[-1].lower().endswith(SUFFIXES)


def _walk(root: pathlib.Path) -> Iterable[str]:
  """Relative names of the images, links followed; a folder reached twice is refused."""
  seen: set[str] = set()
  for folder, _, files in os.walk(root, followlinks=True):
    real = os.path.realpath(folder)
    if real in seen:
      raise BadInput(f"{folder} is reached twice through links")
    seen.add(real)
    for file in files:
      name = (pathlib.Path(folder) / file).relative_to(root).as_posix()
      if _is_image(name):
        yield name


def _unwrap(names: Sequence[str]) -> list[str]:
  """Names without the one folder around all of them, if there is one and it is no split."""
  tops = {name.split("/")[0] if "/" in name else "" for name in names}
  top = tops.pop() if len(tops) == 1 else ""
  return [name[len(top) + 1 :] for name in names] if top and top not in SPLITS else list(names)


def _members(path: str) -> list[zipfile.ZipInfo]:
  try:
    with zipfile.ZipFile(path) as archive:
      members = archive.infolist()
  except (zipfile.BadZipFile, OSError, ValueError) as error:
    raise BadInput(f"{path!r} is not a readable zip: {error}") from error
  for member in members:
    name = member.filename.replace("\\", "/")
    if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
      raise BadInput(f"{path!r} holds a member that points outside: {member.filename!r}")
  images = [member for member in members if _is_image(member.filename)]
  for member in images:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
      raise BadInput(f"{member.filename} in {path!r} is neither stored nor deflated")
    if member.flag_bits & 1:
      raise BadInput(f"{member.filename} in {path!r} is encrypted")
  return images


class _Folder:
  """Files under a root by index."""

  def __init__(self, root: str, names: Sequence[str], labels: Sequence[int | None]):
    self.root, self.names, self.labels = root, names, labels

  def __len__(self) -> int:
    return len(self.names)

  def __getitem__(self, index: int, /) -> tuple[bytes, int | None]:
    try:
      return pathlib.Path(self.root, self.names[index]).read_bytes(), self.labels[index]
    except OSError as error:
      raise BadInput(f"unreadable image {self.name(index)}: {error.strerror}") from error

  def label_of(self, index: int) -> int | None:
    return self.labels[index]

  def name(self, index: int) -> str:
    return os.path.join(self.root, self.names[index])


class _Zip:
  """Members of a zip by index, read from a memory map that each process opens for itself.

  Slices of a map need no lock and no seek, so that any thread may read.
  """

  def __init__(self, path: str, members: Sequence[zipfile.ZipInfo], labels: Sequence[int | None]):
    self.path, self.labels = os.path.abspath(path), labels
    self.names = [member.filename for member in members]
    self.start = np.array([member.header_offset for member in members], np.int64)
    self.bytes = np.array([member.compress_size for member in members], np.int64)
    self.crc = np.array([member.CRC for member in members], np.int64)
    self.deflated = np.array([m.compress_type == zipfile.ZIP_DEFLATED for m in members], bool)
    self._open()

  def _open(self) -> None:
    self._map: mmap.mmap | None = None
    self._lock = threading.Lock()

  def __getstate__(self) -> dict[str, Any]:
    return {k: v for k, v in self.__dict__.items() if k not in ("_map", "_lock")}

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__dict__.update(state)
    self._open()

  def __len__(self) -> int:
    return len(self.names)

  def __getitem__(self, index: int, /) -> tuple[bytes, int | None]:
    data = self._data()
    start = int(self.start[index])
    try:
      name_bytes, extra_bytes = struct.unpack("<HH", data[start + 26 : start + 30])
      start += 30 + name_bytes + extra_bytes
      content = data[start : start + int(self.bytes[index])]
      if self.deflated[index]:
        content = zlib.decompress(content, -zlib.MAX_WBITS)
    except (struct.error, zlib.error) as error:
      raise BadInput(f"unreadable image {self.name(index)}: {error}") from error
    if zlib.crc32(content) != self.crc[index]:
      raise BadInput(f"unreadable image {self.name(index)}: its checksum is wrong")
    return content, self.labels[index]

  def label_of(self, index: int) -> int | None:
    return self.labels[index]

  def name(self, index: int) -> str:
    return f"{self.names[index]} in {self.path}"

  def _data(self) -> mmap.mmap:
    if self._map is None:
      with self._lock:
        if self._map is None:
          with open(self.path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return self._map
