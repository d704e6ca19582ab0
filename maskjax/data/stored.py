"""Files of a folder or members of a zip as bytes by index, picklable and usable from any thread."""

import io
import mmap
import os
import pathlib
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import IO, Any, Protocol

import numpy as np

from maskjax.data.listing import Listing
from maskjax.errors import BadInput

SUMMED = 1 << 20


class Encoded(Protocol):
  """Files by index, as bytes with a label or None; picklable, usable from any thread."""

  def __len__(self) -> int:
    """Number of files."""
    ...

  def __getitem__(self, index: int, /) -> tuple[bytes, int | None]:
    """Bytes and label of a file."""
    ...

  def label_of(self, index: int) -> int | None:
    """Label of a file alone."""
    ...

  def name(self, index: int) -> str:
    """What to call the file in messages."""
    ...

  def content_of(self, index: int) -> bytes:
    """What changes where the file does."""
    ...


class Stored(Encoded, Protocol):
  """Files that have names and can be opened."""

  @property
  def names(self) -> Sequence[str]:
    """Names of the files in their folder or zip."""
    ...

  def opened(self, index: int) -> IO[bytes]:
    """The file, open from its start."""
    ...


def summed(size: int, crc: Callable[[], int]) -> bytes:
  """The size of a file and the CRC-32 of what is in it, which is 0 for more than `SUMMED` bytes.

  So it is the same for a file in a folder, which has to be read, and in a zip, which tells it.
  """
  return struct.pack("<qI", size, crc() if size <= SUMMED else 0)


def stored(listing: Listing, labels: Sequence[int | None]) -> Stored:
  """The readable files of a listing, with their labels."""
  if os.path.isdir(listing.path):
    return _Folder(listing.path, [str(raw) for raw in listing.raw], labels)
  members = [raw for raw in listing.raw if isinstance(raw, zipfile.ZipInfo)]
  return _Zip(listing.path, members, labels)


class Subset:
  """Some files of an `Encoded`, in the order of `indices`."""

  def __init__(self, parent: Any, indices: Sequence[int]):
    self.parent, self.indices = parent, np.asarray(indices, np.int64)

  def __len__(self) -> int:
    """Number of files."""
    return len(self.indices)

  def __getitem__(self, index: int, /) -> tuple[bytes, int | None]:
    """Bytes and label of a file."""
    return self.parent[int(self.indices[index])]

  @property
  def names(self) -> list[str]:
    """Names of the files, where the parent has them."""
    return [self.parent.names[i] for i in self.indices]

  def label_of(self, index: int) -> int | None:
    """Label of a file alone."""
    return self.parent.label_of(int(self.indices[index]))

  def name(self, index: int) -> str:
    """What to call the file in messages."""
    return self.parent.name(int(self.indices[index]))

  def content_of(self, index: int) -> bytes:
    """What changes where the file does."""
    return self.parent.content_of(int(self.indices[index]))

  def opened(self, index: int) -> IO[bytes]:
    """The file, open from its start."""
    return self.parent.opened(int(self.indices[index]))


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
      raise BadInput(f"unreadable file {self.name(index)}: {error.strerror}") from error

  def opened(self, index: int) -> IO[bytes]:
    try:
      return pathlib.Path(self.root, self.names[index]).open("rb")
    except OSError as error:
      raise BadInput(f"unreadable file {self.name(index)}: {error.strerror}") from error

  def label_of(self, index: int) -> int | None:
    return self.labels[index]

  def name(self, index: int) -> str:
    return os.path.join(self.root, self.names[index])

  def content_of(self, index: int) -> bytes:
    try:
      size = os.stat(os.path.join(self.root, self.names[index])).st_size
    except OSError as error:
      raise BadInput(f"unreadable file {self.name(index)}: {error.strerror}") from error
    return summed(size, lambda: zlib.crc32(self[index][0]))


class _Zip:
  """Members of a zip by index, read from a memory map that each process opens for itself.

  Slices of a map need no lock and no seek, so that any thread may read.
  """

  def __init__(self, path: str, members: Sequence[zipfile.ZipInfo], labels: Sequence[int | None]):
    self.path, self.labels = os.path.abspath(path), labels
    self.names = [member.filename for member in members]
    self.start = np.array([member.header_offset for member in members], np.int64)
    self.bytes = np.array([member.compress_size for member in members], np.int64)
    self.size = np.array([member.file_size for member in members], np.int64)
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
      raise BadInput(f"unreadable file {self.name(index)}: {error}") from error
    if zlib.crc32(content) != self.crc[index]:
      raise BadInput(f"unreadable file {self.name(index)}: its checksum is wrong")
    return content, self.labels[index]

  def opened(self, index: int) -> IO[bytes]:
    return io.BytesIO(self[index][0])

  def label_of(self, index: int) -> int | None:
    return self.labels[index]

  def name(self, index: int) -> str:
    return f"{self.names[index]} in {self.path}"

  def content_of(self, index: int) -> bytes:
    return summed(int(self.size[index]), lambda: int(self.crc[index]))

  def _data(self) -> mmap.mmap:
    if self._map is None:
      with self._lock:
        if self._map is None:
          with open(self.path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return self._map
