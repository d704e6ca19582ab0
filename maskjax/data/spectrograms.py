"""Recordings as the images that spectrograms are: time by frequency, one channel."""

import dataclasses
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, SupportsIndex

import numpy as np

from maskjax.data import kinds
from maskjax.data.augment import normalise
from maskjax.data.batch import Batch
from maskjax.data.images import evenly
from maskjax.data.source import Example, Source, inside, no_paths, whole
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.spectrogram import log_mel

_log = logging.getLogger("maskjax")

_KEPT = 1 << 30  # bytes of spectrograms of a split that stay in memory, if all of them fit
_WINDOW = inspect.signature(log_mel).parameters["size"].default  # seconds
_RANGE = 100  # spectrograms whose values say what pictures show as dark and bright


class Spectrograms:
  """Logarithms of power in mel bands of recordings, cut or filled with zeros to `frames`.

  An example is `{"image": float32 [frames, bins, 1], "label": int}`, without "label" where there is
  none. Channels are averaged, the mean of the signal is taken away, and what follows its last
  sample is not looked at; a signal shorter than `window` samples is filled with zeros up to them.
  The fill of an image is 0 as in Audio-MAE's public code, though silence is
  `log(spectrogram.EPS)`. Where all of them fit into 1 GiB they stay in memory; copies sent to
  worker processes start empty.
  """

  def __init__(
    self, audio: Source, frames: int, bins: int, levels: Callable[..., Any], window: int
  ):
    self.audio, self.frames, self.bins, self.levels = audio, frames, bins, levels
    self.window = window
    self.keep = 4 * frames * bins * len(audio) <= _KEPT
    self._kept: dict[int, Example] = {}

  def __getstate__(self) -> dict[str, Any]:
    """All but the spectrograms themselves."""
    return {**self.__dict__, "_kept": {}}

  def __len__(self) -> int:
    """Number of recordings."""
    return len(self.audio)

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The spectrogram at `index`, and its label where there are labels."""
    i = inside(index, len(self))
    if i not in self._kept:
      example = self._made(self.audio[i])
      if not self.keep:
        return example
      example["image"].flags.writeable = False  # type: ignore[union-attr]
      self._kept[i] = example
    return dict(self._kept[i])

  def _made(self, example: Example) -> Example:
    rest = {name: value for name, value in example.items() if name not in ("audio", "valid")}
    signal = np.asarray(example["audio"])[np.asarray(example["valid"])].mean(axis=-1)
    signal = signal - signal.mean() if len(signal) else signal
    if 0 < len(signal) < self.window:
      signal = np.pad(signal, (0, self.window - len(signal)))
    levels = self.levels(signal)[: self.frames]
    image = np.zeros((self.frames, self.bins, 1), np.float32)
    image[: len(levels), :, 0] = levels
    return {"image": image, **rest}


def _tell_short(split: str, source: Source, window: int) -> None:
  """Warns of recordings shorter than a window; refuses a split of nothing else."""
  lengths = getattr(source, "samples", None)
  if lengths is None or not (short := np.flatnonzero(np.asarray(lengths) < window)).size:
    return
  first = getattr(source, "names", [""] * len(source))[short[0]]
  told = f"of {split} are shorter than a window of {window} samples ({first})"
  if len(short) == len(lengths):
    raise BadInput(f"all {len(short)} recordings {told}: set a smaller data.mel.size, in seconds")
  _log.warning("%d of %d recordings %s, filled with zeros", len(short), len(lengths), told)


def of(
  record: Record, splits: Mapping[str, Source], *, frames: int, bins: int = 128, **mel: Any
) -> tuple[Record, dict[str, Source]]:
  """The record and splits of recordings as those of their spectrograms.

  An image is `frames` long, in units of `hop`; the other arguments are those of
  `spectrogram.log_mel`. The record keeps the rate of the audio, by which pictures know it for a
  spectrogram, and the smallest and largest value among 100 evenly spaced ones as `low` and `high`.

  Raises:
    BadInput: data that are no recordings, or arguments that cannot work.
  """
  kinds.expect(record, "data.mel", "audio")
  make = _maker(record.rate, frames, bins, mel)
  sources: dict[str, Source] = {}
  for name, source in splits.items():
    made = sources[name] = make(source)
    _tell_short(name, source, made.window)
  first = next(iter(sources.values()))
  seen = np.stack([np.asarray(first[int(i)]["image"]) for i in evenly(len(first), _RANGE)])
  low, high = (float(seen.min()),), (float(seen.max()),)
  shape = (frames, bins, 1)
  return dataclasses.replace(
    record, kind="image", shape=shape, low=low, high=high, peak=1.0
  ), sources


def preprocess(
  recordings: Sequence[Any],
  record: Record,
  *,
  frames: int,
  bins: int = 128,
  length: int | None = None,
  **mel: Any,
) -> Batch:
  """Recordings at the record's rate as the normalised spectrograms that a run was trained on.

  Args:
    recordings: samples [n] or [n, channels] each, floats in [-1, 1] or whole numbers with a sign.
    record: of the run's data.
    frames: as in `of`.
    bins: likewise.
    length: samples of each that are looked at, None for all.
    **mel: as in `of`.

  Raises:
    BadInput: a single recording, a path, or values that are no samples; the cure is named.
  """
  no_paths(recordings, "recordings", "[soundfile.read(path)[0] for path in paths]")
  if isinstance(recordings, np.ndarray) and recordings.ndim == 1:
    raise BadInput("preprocess takes a list of recordings, got a single one: [recording]")
  audio = [_audio(recording)[:length] for recording in recordings]
  whole: Any = [{"audio": x, "valid": np.ones(len(x), bool)} for x in audio]
  made = _maker(record.rate, frames, bins, mel)(whole)
  images = np.stack([np.asarray(made[i]["image"]) for i in range(len(audio))])
  return {"image": normalise(images, record.mean, record.std)}


def _audio(recording: Any) -> np.ndarray:
  """Samples as float32 [n, channels]."""
  samples = np.asarray(recording)
  if samples.ndim not in (1, 2) or not samples.size or samples.dtype.kind not in "if":
    told = f"got {samples.dtype} {samples.shape}"
    raise BadInput(f"a recording is samples [n] or [n, channels], {told}")
  if samples.dtype.kind == "i":
    samples = samples / -float(np.iinfo(samples.dtype).min)
  if not (np.abs(samples) <= 1).all():  # not even if one is NaN
    most = np.abs(samples).max()
    raise BadInput(f"samples of a recording lie in [-1, 1], got up to {most:g}: divide them")
  return samples.reshape(len(samples), -1).astype(np.float32)


def _maker(
  rate: int, frames: int, bins: int, mel: Mapping[str, Any]
) -> Callable[[Any], Spectrograms]:
  """What makes spectrograms of recordings; `mel` are arguments of `log_mel`."""
  whole("mel.frames", frames, least=1)
  try:
    levels: Callable[..., Any] = partial(log_mel, rate=rate, bins=bins, **mel)
    levels(np.zeros(1, np.float32))
  except TypeError as error:
    raise BadInput(f"data.mel: {error}") from error
  window = int(rate * mel.get("size", _WINDOW))
  return lambda audio: Spectrograms(audio, frames, bins, levels, window)
