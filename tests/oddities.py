"""Small files of known content, and rows of tables about how they are read."""

import dataclasses
import io
import pathlib
import struct
import wave
import zipfile
from typing import Any

import numpy as np
from PIL import Image

from maskjax.record import Record


@dataclasses.dataclass(frozen=True)
class Row:
  """Files, arguments, and what has to come of them: told by construction, not by a reader of ours.

  Attributes:
    name: of the oddity.
    files: names in order, of which each holds its number; or names and contents.
    want: by split, the class of each number (None without a label), "*" for all splits of a hash
      together; or a regular expression of the refusal.
    args: of the reader.
    says: a regular expression of what is logged.
  """

  name: str
  files: Any
  want: Any
  args: dict[str, Any] = dataclasses.field(default_factory=dict)
  says: str = ""


def ids(row: Row) -> str:
  return row.name


def png(value: int, size=(1, 1)) -> bytes:
  out = io.BytesIO()
  Image.new("L", size[::-1], value).save(out, "PNG")
  return out.getvalue()


def tone(value: int, frames: int = 2, rate: int = 100) -> bytes:
  out = io.BytesIO()
  with wave.open(out, "wb") as file:
    file.setparams((1, 2, rate, frames, "NONE", ""))
    file.writeframes(np.full(frames, value, "<i2").tobytes())
  return out.getvalue()


def saved(**named):
  out = io.BytesIO()
  np.savez(out, **named)
  return out.getvalue()


def put(root: pathlib.Path, files: dict[str, bytes]) -> str:
  """Writes files to a folder, where a name that ends in "/" is an empty one."""
  for name, data in files.items():
    target = root / name
    if name.endswith("/"):
      target.mkdir(parents=True, exist_ok=True)
      continue
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
  root.mkdir(exist_ok=True)
  return str(root)


def pack(path: pathlib.Path, files: dict[str, bytes] | list[tuple[Any, bytes]]) -> str:
  with zipfile.ZipFile(path, "w") as archive:
    for name, data in files.items() if isinstance(files, dict) else files:
      archive.writestr(name, data)
  return str(path)


def laid(folder: pathlib.Path, files: dict[str, bytes], how: str) -> str:
  """Files as a "folder" or a "zip" inside a folder."""
  return put(folder / "set", files) if how == "folder" else pack(folder / "set.zip", files)


def raw_zip(path: pathlib.Path, names: dict[bytes, bytes], flags: int = 0) -> str:
  """A zip whose names are these bytes, with these flags, as programs of other systems write it."""
  body, central = b"", b""
  for name, data in names.items():
    crc = zipfile.crc32(data)
    fields = (20, flags, 0, 0, 33, crc, len(data), len(data), len(name), 0)
    at = len(body)
    body += struct.pack("<4s5HIIIHH", b"PK\3\4", *fields) + name + data
    central += struct.pack("<4sH5HIIIHHHHHII", b"PK\1\2", 20, *fields, 0, 0, 0, 0, at) + name
  end = struct.pack("<4s4HIIH", b"PK\5\6", 0, 0, len(names), len(names), len(central), len(body), 0)
  path.write_bytes(body + central + end)
  return str(path)


def opened(path: str):
  """An opener of a user's package."""
  return Record("image", (1, 1, 1), {"train": 1}), {"train": [{"image": np.zeros((1, 1, 1))}]}


def wide(grid):
  """A score of the cells of a table that jax has no part in: those of the last columns are high."""
  return np.tile(np.arange(grid[1]) / grid[1], grid[0])


def largest(scores, count, allowed):
  """A selection of the grammar in numpy: allowed positions of highest score, later ones first."""
  order = np.argsort(np.where(allowed, scores, -np.inf), kind="stable")[::-1]
  return np.isin(np.arange(len(scores)), order[:count])
