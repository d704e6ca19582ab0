"""The kind of data at a path: what most of its bytes are, by the names of its files."""

import codecs
import os
import zipfile
from collections.abc import Iterator, Sequence

from maskjax.data import decode, foreign, text, wav
from maskjax.data.listing import counted, stray
from maskjax.errors import BadInput

# What a folder or a zip may hold, and how each kind's files end.
_FILES = {
  "folder": decode.SUFFIXES,
  "wav": wav.SUFFIXES,
  "text": text.SUFFIXES,
  "csv": (".csv", ".csv.gz", ".tsv", ".data"),
}


def kind(path: str) -> str:
  """The kind of data in a folder, a zip or a file.

  Raises:
    BadInput: there is nothing, or nothing known; what there is, and the cure, are named.
  """
  if not os.path.exists(path):
    raise BadInput(f"{path!r} does not exist")
  folder = os.path.isdir(path)
  if not folder and not zipfile.is_zipfile(path):
    return _of_file(path)
  held = {name: size for name, size in (_walk if folder else _members)(path) if not stray(name)}
  if not folder and any(name.endswith(".npy") for name in held):
    names = {name.removesuffix(".npy") for name in held}
    return "graph" if names & {"edges", "edge_index"} else "npz"
  found = {name: kind for name in held if (kind := _by_name(name))}
  if not found:
    told = f": {counted(sorted(held))}{_cure(path, sorted(held), folder)}" if held else ""
    raise BadInput(f"{path!r} holds nothing that is known{told}; name=KIND says what it is")
  # One more, so that files without content count too.
  sizes = {kind: sum(held[n] + 1 for n in found if found[n] == kind) for kind in _FILES}
  most = max(sizes, key=lambda kind: sizes[kind])
  if folder and most == "csv":
    first = os.path.join(path, min(name for name in found if found[name] == most))
    raise BadInput(f"{path!r} is a folder of tables: data.path is one of them, such as {first}")
  return most


def _of_file(path: str) -> str:
  """The kind of a single file that is no zip."""
  if (kind := _by_name(path)) in ("folder", "wav"):
    raise BadInput(f"{path!r} is a single file: data.path is the folder that it lies in")
  if kind:
    return kind
  with open(path, "rb") as file:
    start = file.read(foreign.START)
  named = "" if path.lower().endswith((".zip", ".npz")) else path  # which it is not
  if told := foreign.why(start, named):
    raise BadInput(f"{path!r} is not read{told}")
  if not named:
    raise BadInput(f"{path!r} is no zip and no npz file, though it is called so")
  try:
    words = codecs.getincrementaldecoder("utf-8")().decode(start)  # which may end within a sign
  except UnicodeDecodeError:
    words = "\0"
  if "\0" in words:
    raise BadInput(f"{path!r} is neither text nor of a format that is known")
  return "text"


def _cure(path: str, names: Sequence[str], folder: bool) -> str:
  """What the first of a few files that is of a known format is, and the cure."""
  for name in names[:9]:
    start = b""
    if folder:
      with open(os.path.join(path, name), "rb") as file:
        start = file.read(foreign.START)
    if told := foreign.why(start, name):
      return told.replace("it is", f"{name} is", 1)
  return ""


def _by_name(name: str) -> str:
  ends = (kind for kind, suffixes in _FILES.items() if name.lower().endswith(suffixes))
  return next(ends, "")


def _walk(path: str) -> Iterator[tuple[str, int]]:
  for folder, _, files in os.walk(path, followlinks=True):
    for name in files:
      whole = os.path.join(folder, name)
      yield os.path.relpath(whole, path), os.path.getsize(whole) if os.path.exists(whole) else 0


def _members(path: str) -> Iterator[tuple[str, int]]:
  with zipfile.ZipFile(path) as archive:
    for member in archive.infolist():
      if not member.is_dir():
        yield member.filename, member.file_size
