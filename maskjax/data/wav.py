"""Recordings: a folder or a zip of `.wav` files, with labels from their names or folders."""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import logging
import os
import pathlib
import re
import struct
import wave
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, NamedTuple, SupportsIndex

import numpy as np

from maskjax.data.source import Example, Source
from maskjax.data.text import SPLITS, inside, stray, whole
from maskjax.errors import BadInput, unknown
from maskjax.record import Record

_log = logging.getLogger("maskjax")


@dataclasses.dataclass(frozen=True, eq=False)
class Recordings:
  """Recordings cut or padded with zeros at their end to `length` samples.

  An example is `{"audio": float32 [length, channels] in [-1, 1], "valid": bool [length],
  "label": int}`, without "label" where there is none.
  """

  root: str
  names: tuple[str, ...] = dataclasses.field(repr=False)
  labels: tuple[int, ...] = dataclasses.field(repr=False)
  length: int
  channels: int

  def __len__(self) -> int:
    """Number of recordings."""
    return len(self.names)

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The recording at `index`; raises BadInput, with its name, where its samples are damaged."""
    i = inside(index, len(self))
    samples = _samples(self.root, self.names[i])[: self.length]
    audio = np.zeros((self.length, self.channels), np.float32)
    audio[: len(samples)] = samples
    example: Example = {"audio": audio, "valid": np.arange(self.length) < len(samples)}
    return example | {"label": self.labels[i]} if self.labels else example


def open(
  path: str,
  *,
  length: int | None = None,
  label: str = "folder",
  test_where: Mapping[str, Sequence[str]] | None = None,
  on_error: str = "raise",
) -> tuple[Record, dict[str, Source]]:
  """Opens a folder or zip of `.wav` files of one sample rate and one number of channels.

  Integers of 8, 16, 24 and 32 bits are divided by 2^7, 2^15, 2^23, 2^31; floats are clipped to
  [-1, 1]. Recordings and classes are sorted by name. The splits are what `test_where` says, else
  the folders `train`, `validation` and `test`, else a tenth for test by a hash of the name.

  Args:
    path: the folder or zip.
    length: samples of an example; None takes the longest recording's.
    label: "folder" (the class is the file's folder; no folders, no labels), "" (no labels), or a
      pattern of the file's name, with as many folders as it has slashes, each field as short as
      fits: "{label}_{speaker}_{n}.wav".
    test_where: fields of the pattern and the values, such as `{"n": ("0", "1")}`, that put a
      recording into test; all others are train.
    on_error: "raise", or "skip": every file is read once, damaged ones are reported and left out.

  Raises:
    BadInput: nothing to read, a damaged file (in its samples: once read), two rates or channel
      counts, a name that does not fit, a zip member that points outside, an argument out of range.
  """
  if on_error not in ("raise", "skip"):
    raise unknown("on_error", on_error, ("raise", "skip"))
  if length is not None:
    whole("length", length, least=1)
  names = _relative(_names(path))
  fields = _fields(names, label)
  classes = tuple(sorted({field["label"] for field in fields.values() if "label" in field}))
  splits = _splits(fields, test_where)
  formats = {name: form for name in names if (form := _scan(path, names[name], on_error))}
  if not formats:
    raise BadInput(f"no readable .wav file in {path}")
  kinds = {(form.rate, form.channels): name for name, form in formats.items()}
  if len(kinds) > 1:
    (a, one), (b, other), *_ = kinds.items()
    raise BadInput(f"(rate, channels) are {a} in {one} but {b} in {other}: one set, one format")
  ((rate, channels),) = kinds
  length = length or max(form.frames for form in formats.values())
  sources: dict[str, Source] = {}
  for split in SPLITS:
    if held := [name for name in formats if splits[name] == split]:
      labels = tuple(classes.index(fields[name]["label"]) for name in held) if classes else ()
      sources[split] = Recordings(path, tuple(names[n] for n in held), labels, length, channels)
  sizes = {split: len(source) for split, source in sources.items()}
  return Record("audio", (length, channels), sizes, classes, rate=rate), sources


def write(path: str | os.PathLike[str], audio: np.ndarray, rate: int) -> None:
  """Writes samples in [-1, 1], [n] or [n, channels], as a `.wav` file of 16-bit integers.

  Those beyond are clipped.
  """
  audio = np.asarray(audio).reshape(len(audio), -1)
  whole = np.rint(np.clip(audio * 2**15, -(2**15), 2**15 - 1)).astype("<i2")
  with wave.open(os.fspath(path), "wb") as file:
    file.setparams((audio.shape[1], 2, rate, len(audio), "NONE", ""))
    file.writeframes(whole.tobytes())


class Format(NamedTuple):
  """What the header of a wav file says of its samples."""

  rate: int
  channels: int
  kind: str
  frames: int


# By format tag (1 integer, 3 float) and bits of a sample.
_KINDS = {(1, 8): "u1", (1, 16): "<i2", (1, 24): "i3", (1, 32): "<i4", (3, 32): "<f4"}
_SCALES = {"u1": 2**7, "<i2": 2**15, "i3": 2**31, "<i4": 2**31, "<f4": 1}


def _header(file: IO[bytes], size: int) -> Format:
  """Walks the chunks of a RIFF file of `size` bytes as far as its samples."""
  if (start := file.read(12))[:4] != b"RIFF" or start[8:] != b"WAVE":
    raise ValueError("not a RIFF WAVE file")
  at, layout = 12, b""
  while at + 8 <= size:
    name, length = struct.unpack("<4sI", file.read(8))
    if at + 8 + length > size:
      raise ValueError(f"truncated: {name!r} has {length} bytes, {size - at - 8} are left")
    if name == b"data":
      return _format(layout, length)
    if name == b"fmt ":
      layout = file.read(length)
    at += 8 + length + length % 2
    file.seek(at)
  raise ValueError("no samples in it")


def _format(layout: bytes, size: int) -> Format:
  tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", layout)
  if tag == 0xFFFE:  # extensible: the tag proper opens a 16-byte name
    (tag,) = struct.unpack_from("<H", layout, 24)
  if (tag, bits) not in _KINDS:
    raise ValueError(f"format {tag} of {bits} bits (read: PCM of 8, 16, 24, 32; float of 32)")
  if not channels or not rate or block != channels * bits // 8 or not size or size % block:
    raise ValueError(f"{size} bytes at rate {rate} in {channels} channels, {block} bytes a frame")
  return Format(rate, channels, _KINDS[tag, bits], size // block)


def _samples(root: str, name: str) -> np.ndarray:
  """Decodes one recording, float32 [frames, channels]."""
  with _file(root, name) as (file, size):
    _, channels, kind, frames = _header(file, size)
    raw = file.read()  # to the end, where a zip checks its sum
    if kind == "i3":  # the upper three bytes of an int32
      narrow = np.frombuffer(raw, np.uint8, frames * channels * 3).reshape(-1, 3)
      values = np.pad(narrow, ((0, 0), (1, 0))).view("<i4")
    else:
      values = np.frombuffer(raw, kind, frames * channels)
    if not np.isfinite(values).all():
      raise ValueError("a sample is not finite")
  audio = values.astype(np.float32).reshape(frames, channels) / _SCALES[kind] - (kind == "u1")
  return audio.clip(-1, 1)


def _scan(root: str, name: str, on_error: str) -> Format | None:
  try:
    if on_error == "skip":
      _samples(root, name)
    with _file(root, name) as (file, size):
      return _header(file, size)
  except BadInput as error:
    if on_error == "raise":
      raise
    _log.warning("left out: %s", error)
    return None


# RuntimeError is how a zip tells of an encrypted member or an unknown compression.
_BAD = (OSError, EOFError, ValueError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile)


@contextlib.contextmanager
def _file(root: str, name: str) -> Iterator[tuple[IO[bytes], int]]:
  """One recording as a file, and its size; what goes wrong inside is told with its name."""
  try:
    if os.path.isdir(root):
      path = pathlib.Path(root, name)
      with path.open("rb") as file:
        yield file, path.stat().st_size
    else:
      archive = _archive(root, os.getpid())
      with archive.open(name) as file:
        yield file, archive.getinfo(name).file_size
  except _BAD as error:
    raise BadInput(f"cannot read {name} in {root}: {error}") from error


@functools.lru_cache(maxsize=8)
def _archive(root: str, process: int) -> zipfile.ZipFile:
  """An open zip; threads may share it, forked processes may not: they would share its offset."""
  return zipfile.ZipFile(root)


def _names(path: str) -> list[str]:
  """Names of the wav files of a folder or zip, sorted."""
  root = pathlib.Path(path)
  if root.is_dir():
    names = [file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()]
  else:
    try:
      _archive.cache_clear()  # the zip may have been written anew
      names = _archive(path, os.getpid()).namelist()
    except (OSError, zipfile.BadZipFile) as error:
      raise BadInput(f"cannot read {path} as a folder or zip: {error}") from error
    out = lambda name: re.match(r"[/\\]|\w:", name) or ".." in re.split(r"[/\\]", name)
    if outside := list(filter(out, names)):
      raise BadInput(f"{path} has a member that points outside: {outside[0]!r}")
  names = sorted({name for name in names if name.lower().endswith(".wav") and not stray(name)})
  if not names:
    raise BadInput(f"no .wav file in {path}")
  return names


def _relative(names: Sequence[str]) -> dict[str, str]:
  """Names without the folders that all share, which tell nothing, and the names as they were."""
  columns = zip(*(name.split("/")[:-1] for name in names), strict=False)  # as deep as all go
  shared = itertools.takewhile(lambda at: len(set(at)) == 1 and at[0] not in SPLITS, columns)
  depth = len(list(shared))
  return {name.split("/", depth)[-1]: name for name in names}


def _fields(names: Mapping[str, str], label: str) -> dict[str, dict[str, str]]:
  """What each name says: the fields of the pattern, or the class alone."""
  if label in ("", "folder"):
    return _folders(list(names)) if label else {name: {} for name in names}
  pattern = _pattern(label)
  found = {}
  for name, full in names.items():
    tail = "/".join(full.split("/")[-1 - label.count("/") :])
    if not (match := pattern.fullmatch(tail)):
      raise BadInput(f"{full} does not fit the label pattern {label!r}")
    found[name] = match.groupdict()
  return found


def _folders(names: Sequence[str]) -> dict[str, dict[str, str]]:
  """The folder that each file lies in, other than a split's; all of them or none."""
  outer = int(_in_splits(names))
  classes = [["", *name.split("/")[outer:]][-2] for name in names]
  if "" in classes and any(classes):
    raise BadInput(f"{names[classes.index('')]} lies in no class folder, others do")
  return {n: {"label": c} if c else {} for n, c in zip(names, classes, strict=True)}


def _pattern(label: str) -> re.Pattern[str]:
  try:
    pattern = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+?)", re.escape(label)))
  except re.error as error:
    raise BadInput(f"label pattern {label!r}: {error}") from error
  if "label" not in pattern.groupindex:
    raise BadInput(f"label is 'folder', '' or a pattern with {{label}}, got {label!r}")
  return pattern


def _splits(fields: Mapping[str, dict[str, str]], where: Mapping | None) -> dict[str, str]:
  """The split of each name: by its fields, its first folder, or its hash."""
  if where:
    return _chosen(fields, where)
  if _in_splits(list(fields)):
    return {name: name.split("/")[0] for name in fields}
  _log.info("no train and test folders: a tenth of %d recordings, by hash, is test", len(fields))
  digest = lambda name: int(hashlib.blake2s(name.encode(errors="surrogateescape")).hexdigest(), 16)
  return {name: "train" if digest(name) % 10 else "test" for name in fields}


def _in_splits(names: Sequence[str]) -> bool:
  """Whether the first folders are splits; raises where only some of them are."""
  tops = {name.split("/")[0] if "/" in name else "" for name in names}
  if "train" in tops and (other := sorted(tops - set(SPLITS))):
    raise BadInput(f"{other[0] or 'files'} beside folder train; splits are {', '.join(SPLITS)}")
  return tops <= set(SPLITS)


def _chosen(fields: Mapping[str, dict[str, str]], where: Mapping) -> dict[str, str]:
  """Test where every field of `where` has one of its values, train elsewhere."""
  several = lambda values: [values] if isinstance(values, str | int) else values
  wanted = {field: {str(v) for v in several(values)} for field, values in where.items()}
  known = next(iter(fields.values()))
  for field, values in wanted.items():
    if field not in known:
      raise unknown("field of test_where", field, known)
    if absent := sorted(values - {found[field] for found in fields.values()}):
      raise BadInput(f"no recording has {field} {absent[0]!r}, which test_where asks for")
  test = lambda found: all(found[field] in values for field, values in wanted.items())
  return {name: "test" if test(found) else "train" for name, found in fields.items()}
