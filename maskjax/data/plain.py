"""The text in a file's bytes."""

import gzip
import os
import pathlib
import zlib

from maskjax.data import foreign
from maskjax.errors import BadInput


def read(path: str | pathlib.Path) -> str:
  """The text of one UTF-8 file, unzipped if its name ends in `.gz`; a byte order mark is left out.

  Raises:
    BadInput: no such file, a damaged one, or one that is not UTF-8 (the byte offset is named).
  """
  check_file(path)
  try:
    stored = pathlib.Path(path).read_bytes()
  except OSError as error:
    raise BadInput(f"cannot read {path}: {error}") from error
  return decoded(stored, str(path), zipped=gz(str(path)))


def check_file(path: str | pathlib.Path) -> None:
  """Makes sure that there is a file at a path.

  Raises:
    BadInput: there is nothing, or a folder, in which a file is named.
  """
  if os.path.isdir(path):
    held = [os.path.join(path, n) for n in sorted(os.listdir(path)) if not n.startswith(".")]
    such = f", such as {held[0]}" if held else ""
    raise BadInput(f"data.path={str(path)!r} is a folder, where a file is wanted{such}")
  if not os.path.exists(path):
    raise BadInput(f"data.path={str(path)!r} does not exist")


def gz(name: str) -> bool:
  """Whether a file of this name is zipped by gzip."""
  return name.lower().endswith(".gz")


def decoded(stored: bytes, name: str, *, zipped: bool) -> str:
  """The text that the bytes of a file hold, which messages call `name`; see `read`."""
  try:
    raw = gzip.decompress(stored) if zipped else stored
  except (OSError, EOFError, zlib.error) as error:
    raise BadInput(f"cannot read {name}: {error}") from error
  if raw.startswith(foreign.POINTER):
    raise BadInput(f"{name} is not read{foreign.why(raw)}")
  try:
    return raw.decode("utf-8").removeprefix("\ufeff")
  except UnicodeDecodeError as error:
    told = f"byte {error.start} ({error.reason}){foreign.why(raw)}"
    raise BadInput(f"{name} is not UTF-8: {told}") from error
