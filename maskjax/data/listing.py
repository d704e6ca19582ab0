"""What lies in a folder or a zip: the files that are read, and those that are passed over."""

import contextlib
import logging
import os
import pathlib
import unicodedata
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from maskjax.errors import BadInput

_log = logging.getLogger("maskjax")

SYSTEM = frozenset(
  name.lower()
  for name in (
    "__MACOSX",
    "@eaDir",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    "Thumbs.db",
    "desktop.ini",
  )
)
_UTF8 = 0x800  # the flag of a zip's member whose name is UTF-8


class Listing(NamedTuple):
  """Files of a folder or a zip.

  Attributes:
    path: the folder or zip.
    names: of the readable files, relative to it, "/" between folders, Unicode's form NFC, sorted.
    raw: what opens each: the name as it is on disk, or the zip's member.
    passed: normalised names of the other files, in a folder also those of empty folders, which
      end in "/"; what belongs to a system (see `stray`) is not among them.
    raw_passed: what opens each of these.
  """

  path: str
  names: tuple[str, ...]
  raw: tuple[str | zipfile.ZipInfo, ...]
  passed: tuple[str, ...]
  raw_passed: tuple[str | zipfile.ZipInfo, ...]

  def text(self, name: str) -> str:
    """The text of a file that was passed over, such as a list of files."""
    return self.texts([name])[name]

  def texts(self, names: Sequence[str]) -> dict[str, str]:
    """The texts of files that were passed over, by their names."""
    found = {}
    for name, content in self.bytes(names).items():
      try:
        found[name] = content.decode().replace("\r\n", "\n")
      except UnicodeDecodeError as error:
        raise BadInput(f"{name} in {self.path} is not UTF-8: byte {error.start}") from error
    return found

  def bytes(self, names: Sequence[str]) -> dict[str, bytes]:
    """The bytes of files that were passed over, by their names."""
    raws = dict(zip(self.passed, self.raw_passed, strict=True))
    found = {}
    with contextlib.ExitStack() as stack:
      zipped = any(isinstance(raws[name], zipfile.ZipInfo) for name in names)
      archive = stack.enter_context(zipfile.ZipFile(self.path)) if zipped else None
      for name in names:
        raw = raws[name]
        found[name] = (
          archive.read(raw) if archive else pathlib.Path(self.path, str(raw)).read_bytes()
        )
    return found


def listed(path: str, suffixes: Sequence[str], what: str, *, key: str = "") -> Listing:
  """The files under a folder or in a zip whose names end in one of `suffixes`, in any case.

  Links are followed. Names in a zip may have "\\" for "/", and UTF-8 without saying so.

  Raises:
    BadInput: no such path, another kind of file, nothing to read (what there is, is told), a folder
      that cannot be read or that lies in itself by a link, or a zip that is damaged, points outside
      or holds what cannot be unpacked.
  """
  root = pathlib.Path(path)
  if not path or not root.exists():
    raise BadInput(f"data.path={path!r} does not exist")
  if root.is_dir():
    found: list[tuple[str, str | zipfile.ZipInfo]] = [(normal(n), n) for n in _walk(root)]
  elif root.name.lower().endswith(tuple(suffixes)) and not zipfile.is_zipfile(path):
    raise BadInput(f"data.path={path!r} is a single file: give the folder that it lies in")
  else:
    found = list(_members(path).items())
  found = sorted(found, key=lambda pair: (pair[0], str(pair[1])))
  reads = lambda name: name.lower().endswith(tuple(suffixes))
  good = [pair for pair in found if reads(pair[0])]
  rest = [pair for pair in found if not reads(pair[0])]
  if not good:
    change = f", which {key} changes" if key else ""
    held = f"; it holds {counted(name for name, _ in rest)}" if rest else ""
    raise BadInput(f"no {what} in {path!r} (looked for {' '.join(suffixes)}{change}){held}")
  _check(path, [raw for _, raw in good])
  _tell_forms(good)
  files = [name for name, _ in rest if not name.endswith("/")]
  if files:
    _log.warning("%s: passed over %s", path, counted(files))
  names, raw = zip(*good, strict=True)
  other, other_raw = zip(*rest, strict=True) if rest else ((), ())
  return Listing(path, names, raw, other, other_raw)


def counted(names: Iterable[str]) -> str:
  """Names by suffix, with the first of each.

  >>> counted(["b/x.xml", "a.xml", "notes"])
  '2 .xml (b/x.xml), 1 without a suffix (notes)'
  """
  groups: dict[str, list[str]] = defaultdict(list)
  for name in names:
    suffix = pathlib.PurePosixPath(name).suffix.lower()
    groups["empty folder" if name.endswith("/") else suffix or "without a suffix"].append(name)
  order = sorted(groups.items(), key=lambda item: -len(item[1]))
  return ", ".join(f"{len(held)} {suffix} ({held[0]})" for suffix, held in order)


def stray(name: str) -> bool:
  """Whether a relative file name is a system's own: a dot file, or in a folder of them.

  >>> stray("train/.DS_Store"), stray("__MACOSX/a.txt"), stray("a/Thumbs.db"), stray("train/a.txt")
  (True, True, True, False)
  """
  return any(part.startswith(".") or part.lower() in SYSTEM for part in name.split("/"))


def normal(name: str) -> str:
  """A name in Unicode's form NFC, as macOS and others write it differently."""
  return unicodedata.normalize("NFC", name)


def _walk(root: pathlib.Path) -> Iterator[str]:
  """Relative names of files, links followed, and of empty folders."""

  def fails(error: OSError) -> None:
    raise BadInput(f"cannot read the folder {error.filename}: {error.strerror}") from error

  above = {str(root): frozenset({os.path.realpath(root)})}
  for folder, folders, files in os.walk(root, followlinks=True, onerror=fails):
    folders[:] = [name for name in folders if not stray(name)]
    for name in folders:
      inner = os.path.join(folder, name)
      real = os.path.realpath(inner)
      if real in above[folder]:
        raise BadInput(f"{inner} is a link to a folder that it lies in")
      above[inner] = above[folder] | {real}
    at = pathlib.Path(folder).relative_to(root)
    names = [(at / file).as_posix() for file in files if not stray(file)]
    yield from names
    if not names and not folders and folder != str(root):
      yield f"{at.as_posix()}/"


def _members(path: str) -> dict[str, zipfile.ZipInfo]:
  """Names and members of a zip; of two members of one name the last one counts."""
  try:
    with zipfile.ZipFile(path) as archive:
      members = archive.infolist()
  except (zipfile.BadZipFile, OSError, ValueError) as error:
    raise BadInput(f"{path!r} is neither a folder nor a readable zip: {error}") from error
  found: dict[str, zipfile.ZipInfo] = {}
  twice = []
  for member in members:
    name = normal(_decoded(member).replace("\\", "/"))
    if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
      raise BadInput(f"{path!r} holds a member that points outside: {member.filename!r}")
    name = name.removeprefix("./")
    if name.endswith("/") or not name or stray(name):
      continue
    twice += [name] * (name in found)
    found[name] = member
  if twice:
    told = "%s: %d members are there twice, the last one counts (%s)"
    _log.warning(told, path, len(twice), twice[0])
  return found


def _decoded(member: zipfile.ZipInfo) -> str:
  """A member's name: macOS writes UTF-8 without the flag for it, which is read as code page 437."""
  name = member.orig_filename.split("\0")[0]
  if member.flag_bits & _UTF8:
    return name
  try:
    return name.encode("cp437").decode("utf-8")
  except UnicodeError:
    return name


def _check(path: str, raw: Sequence[str | zipfile.ZipInfo]) -> None:
  for member in raw:
    if isinstance(member, zipfile.ZipInfo):
      if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadInput(f"{member.filename} in {path!r} is neither stored nor deflated")
      if member.flag_bits & 1:
        raise BadInput(f"{member.filename} in {path!r} is encrypted")


def _tell_forms(found: Sequence[tuple[str, str | zipfile.ZipInfo]]) -> None:
  """Warns of folders that are two on disk, but one to a reader."""
  forms: dict[str, set[str]] = defaultdict(set)
  for name, raw in found:
    given = _decoded(raw) if isinstance(raw, zipfile.ZipInfo) else raw
    forms[name.rpartition("/")[0]].add(given.replace("\\", "/").rpartition("/")[0])
  for name, all_given in forms.items():
    if len({form.removeprefix("./") for form in all_given}) > 1:
      _log.warning("%r is there in %d forms of Unicode, taken as one folder", name, len(all_given))
