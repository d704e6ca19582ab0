"""Recordings: a folder or a zip of sound files, with labels from their names or folders."""

import logging
import math
import os
import re
import wave
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
import soundfile
import soxr

from maskjax.data.layout import lay_out
from maskjax.data.listing import listed
from maskjax.data.source import Example, Source, inside, whole
from maskjax.data.splits import Chosen
from maskjax.data.stored import Subset, stored
from maskjax.errors import BadInput, unknown
from maskjax.record import Record

_log = logging.getLogger("maskjax")

SUFFIXES = (
  *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
  *(".aif", ".aiff", ".aifc", ".au", ".caf", ".w64"),
)
# Sizes that programs write which send a file on before they know its length.
_UNKNOWN_SIZE = 0x7FFF0000


class Recordings:
  """Recordings cut or padded with zeros at their end to `length` samples.

  An example is `{"audio": float32 [length, channels] in [-1, 1], "valid": bool [length],
  "label": int}`, without "label" where there is none. A recording of another rate than `rate` is
  resampled, one of other channels is averaged over them, or repeated from one. `samples` are the
  numbers of samples that each has.
  """

  def __init__(
    self, files: Any, length: int, channels: int, rate: int, samples: Sequence[int] = ()
  ):
    self.files, self.length, self.channels, self.rate = files, length, channels, rate
    self.samples = samples or None

  @property
  def names(self) -> list[str]:
    """Names of the files in their folder or zip."""
    return self.files.names

  @property
  def labels(self) -> tuple[int, ...]:
    """The label of each recording; empty without labels."""
    found = [self.files.label_of(i) for i in range(len(self))]
    return tuple(label for label in found if label is not None)

  def label_of(self, index: int) -> int | None:
    """The label of the recording at `index`, which is not read; None without labels."""
    return self.files.label_of(index)

  def content_of(self, index: int) -> bytes:
    """What changes where the file of the recording at `index` does."""
    return self.files.content_of(index)

  def __len__(self) -> int:
    """Number of recordings."""
    return len(self.files)

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The recording at `index`; raises BadInput, with its name, where its samples are damaged."""
    i = inside(index, len(self))
    samples = _samples(self.files, i, self.rate, self.channels)[: self.length]
    audio = np.zeros((self.length, self.channels), np.float32)
    audio[: len(samples)] = samples
    example: Example = {"audio": audio, "valid": np.arange(self.length) < len(samples)}
    label = self.files.label_of(i)
    return example if label is None else {**example, "label": label}


def open(
  path: str,
  *,
  length: int | None = None,
  splits: Chosen = None,
  label: str = "folder",
  test_where: Mapping[str, Sequence[str]] | None = None,
  rate: int | None = None,
  channels: int | None = None,
  on_error: str = "raise",
) -> tuple[Record, dict[str, Source]]:
  """Opens a folder or zip of sound files: WAV, FLAC, OGG, MP3, AIFF, as libsndfile reads them.

  Integers of 8, 16, 24 and 32 bits are divided by 2^7, 2^15, 2^23, 2^31; floats are clipped to
  [-1, 1]. Recordings and classes are sorted by name.

  Args:
    path: the folder or zip.
    length: samples of an example, at the record's rate; None takes the longest recording's.
    splits: folders, files or a list of files of each split, or (); see `layout.lay_out`.
    label: "folder" (the class is the outer folder; no folders, no labels), "inner", "" (no labels),
      or a pattern of the file's name such as "{label}_{speaker}_{n}.wav"; see there.
    test_where: fields of the pattern and the values, such as `{"n": ("0", "1")}`, that put a
      recording into test; all others are train.
    rate: samples a second that all are resampled to; None takes the most common one.
    channels: of all; None where they are equal, 1 averages them.
    on_error: "raise", or "skip": every file is read once, damaged ones are reported and left out.

  Raises:
    BadInput: nothing to read, a damaged file (in its samples: once read), two channel counts, a
      name that does not fit, a zip member that points outside, an argument out of range.
  """
  if on_error not in ("raise", "skip"):
    raise unknown("on_error", on_error, ("raise", "skip"))
  for name, value in (("length", length), ("rate", rate), ("channels", channels)):
    if value is not None:
      whole(name, value, least=1)
  listing = listed(path, SUFFIXES, "sound files")
  layout = lay_out(listing, splits=splits, label=label, test_where=test_where)
  files = stored(listing, layout.labels)
  used = sorted(i for indices in layout.splits.values() for i in indices)
  formats = {i: form for i in used if (form := _scan(files, i, on_error))}
  if not formats:
    raise BadInput(f"no readable sound file in {path}")
  rate, channels = _common(files, formats, rate, channels)
  length = length or max(form.at(rate) for form in formats.values())
  sources: dict[str, Source] = {}
  for split, indices in layout.splits.items():
    if held := [i for i in indices if i in formats]:
      samples = [min(formats[i].at(rate), length) for i in held]
      sources[split] = Recordings(Subset(files, held), length, channels, rate, samples)
  sizes = {split: len(source) for split, source in sources.items()}
  return Record("audio", (length, channels), sizes, layout.class_names, rate=rate), sources


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
  """What the header of a sound file says of its samples."""

  rate: int
  channels: int
  frames: int

  def at(self, rate: int) -> int:
    """Samples once resampled."""
    return math.ceil(self.frames * rate / self.rate)


def _common(
  files: Any, formats: Mapping[int, Format], rate: int | None, channels: int | None
) -> tuple[int, int]:
  """Rate and channels of all, as given, or as most recordings have."""
  rates = Counter(form.rate for form in formats.values())
  rate = rate or max(rates, key=lambda one: (rates[one], one))
  if others := [i for i, form in formats.items() if form.rate != rate]:
    told = "%d of %d recordings are resampled to %d samples a second (%s has %d)"
    first = others[0]
    _log.warning(told, len(others), len(formats), rate, files.names[first], formats[first].rate)
  counts = {form.channels: files.names[i] for i, form in formats.items()}
  if channels is None and len(counts) > 1:
    (a, one), (b, other), *_ = counts.items()
    raise BadInput(f"channels are {a} in {one} but {b} in {other}: data.channels=1 averages them")
  channels = channels or next(iter(counts))
  for count, name in counts.items():
    if channels > 1 and count not in (1, channels):
      raise BadInput(f"{name} has {count} channels, which data.channels={channels} cannot take")
  return rate, channels


def _scan(files: Any, index: int, on_error: str) -> Format | None:
  try:
    if on_error == "skip":
      _samples(files, index, None, None)
    with files.opened(index) as file:
      return _format(files, index, file)
  except BadInput as error:
    if on_error == "raise":
      raise
    _log.warning("left out: %s", error)
    return None


def _format(files: Any, index: int, file: Any) -> Format:
  """Rate, channels and frames; refuses a file without samples and one that was cut off."""
  try:
    with soundfile.SoundFile(file) as sound:
      if not sound.frames:
        raise BadInput(f"cannot read {files.name(index)}: its header tells of no samples")
      size = re.search(r"^data : (\d+) \(should be (\d+)\)", sound.extra_info, re.MULTILINE)
      if size and int(size[2]) < int(size[1]) < _UNKNOWN_SIZE:
        raise BadInput(
          f"cannot read {files.name(index)}: truncated, {size[2]} of {size[1]} bytes are there"
        )
      return Format(sound.samplerate, sound.channels, sound.frames)
  except soundfile.LibsndfileError as error:
    raise BadInput(f"cannot read {files.name(index)}: {error.error_string}") from error


def _samples(files: Any, index: int, rate: int | None, channels: int | None) -> np.ndarray:
  """Decodes one recording, float32 [frames, channels]."""
  with files.opened(index) as file:
    form = _format(files, index, file)
    file.seek(0)
    try:
      audio, _ = soundfile.read(file, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
      raise BadInput(f"cannot read {files.name(index)}: {error.error_string}") from error
  if not np.isfinite(audio).all():
    raise BadInput(f"cannot read {files.name(index)}: a sample is not finite")
  if channels is not None and channels != form.channels:
    audio = np.repeat(audio.mean(axis=1, keepdims=True), channels, axis=1)
  if rate is not None and rate != form.rate:
    audio = soxr.resample(audio, form.rate, rate)
  return audio.clip(-1, 1)
