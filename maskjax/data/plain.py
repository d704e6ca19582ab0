"""The text in a file's bytes."""

import gzip
import pathlib
import zlib

from maskjax.errors import BadInput


def read(path: str | pathlib.Path) -> str:
  """The text of one UTF-8 file, unzipped if its name ends in `.gz`; a byte order mark is left out.

  Raises:
    BadInput: no such file, a damaged one, or one that is not UTF-8 (the byte offset is named).
  """
  try:
    stored = pathlib.Path(path).read_bytes()
  except OSError as error:
    raise BadInput(f"cannot read {path}: {error}") from error
  return decoded(stored, str(path), zipped=gz(str(path)))


def gz(name: str) -> bool:
  """Whether a file of this name is zipped by gzip."""
  return name.lower().endswith(".gz")


def decoded(stored: bytes, name: str, *, zipped: bool) -> str:
  """The text that the bytes of a file hold, which messages call `name`; see `read`."""
  try:
    raw = gzip.decompress(stored) if zipped else stored
    return raw.decode("utf-8").removeprefix("\ufeff")
  except UnicodeDecodeError as error:
    raise BadInput(f"{name} is not UTF-8: byte {error.start} ({error.reason})") from error
  except (OSError, EOFError, zlib.error) as error:
    raise BadInput(f"cannot read {name}: {error}") from error
