"""Mixtures made from recordings: several speakers at once, and each of them alone."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np

from maskjax.data import wav
from maskjax.data.source import Example, Source, content_of, generator, inside, whole
from maskjax.errors import BadInput, unknown
from maskjax.record import Record

_KEPT = 1 << 30  # bytes of recordings of a split that stay in memory, if all of them fit
PEAK = 0.9  # of the loudest of a mixture and its sources


class Mixtures:
  """Mixtures `{"mixture": float32 [n], "sources": float32 [k, n]}`, the same at every call.

  Source 0 of mixture i is recording i mod the number of recordings; the others, each of another
  label than those before it, and all stretches and levels depend on (seed, i) alone. Recordings
  stay in memory with `keep`; copies sent to worker processes start empty.
  """

  def __init__(
    self,
    audio: Source,
    labels: Sequence[int],
    number: int,
    *,
    sources: int,
    length: int,
    level: float,
    seed: tuple[int, int],
    keep: bool = False,
  ):
    self.audio, self.labels, self.number = audio, np.asarray(labels), number
    self.sources, self.length, self.level, self.seed = sources, length, level, seed
    self.keep = keep
    self._kept: dict[int, np.ndarray] = {}

  def __getstate__(self) -> dict[str, Any]:
    """All but the recordings themselves."""
    return {**self.__dict__, "_kept": {}}

  def __len__(self) -> int:
    """Number of mixtures."""
    return self.number

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The mixture at `index`, its sources beside it, whose sum it is."""
    i = inside(index, self.number)
    rng = generator(self.seed, i)
    chosen = [i % len(self.labels)]
    for _ in range(self.sources - 1):
      others = np.flatnonzero((self.labels[:, None] != self.labels[chosen]).all(1))
      chosen.append(int(others[rng.integers(len(others))]))
    made = np.stack([self._source(at, rng) for at in chosen])
    peak = max(np.abs(made).max(), np.abs(made.sum(0)).max())
    made = (PEAK / peak * made if peak > 0 else made).astype(np.float32)
    return {"mixture": made.sum(0), "sources": made}

  def content_of(self, index: int) -> bytes:
    """What changes where the first recording of the mixture at `index` does."""
    return content_of(self.audio, index % len(self.labels))

  def _signal(self, index: int) -> np.ndarray:
    """A recording, its channels averaged."""
    if index in self._kept:
      return self._kept[index]
    example = self.audio[index]
    signal = np.asarray(example["audio"])[np.asarray(example["valid"])].mean(axis=-1)
    if self.keep:
      self._kept[index] = signal
    return signal

  def _source(self, index: int, rng: np.random.Generator) -> np.ndarray:
    """A stretch of a recording at a random level; a short recording is repeated."""
    signal = self._signal(index)
    begin = int(rng.integers(max(len(signal) - self.length, 0) + 1))
    stretch = np.resize(signal[begin:] if len(signal) else np.zeros(1), self.length)
    stretch = stretch - stretch.mean(dtype=np.float64)
    power = np.sqrt(np.mean(stretch**2))
    return 10 ** (rng.uniform(-self.level, self.level) / 20) * stretch / max(power, 1e-9)


def open(
  path: str,
  *,
  length: int,
  sources: int = 2,
  level: float = 2.5,
  sizes: Mapping[str, int] | None = None,
  label: str = "folder",
  test_where: Mapping[str, Sequence[str]] | None = None,
  seed: int = 0,
  on_error: str = "raise",
) -> tuple[Record, dict[str, Source]]:
  """Mixtures of recordings of different speakers, from a folder or a zip of `.wav` files.

  Each source is a stretch of `length` samples of a recording, from a random sample where it is
  longer and repeated where it is shorter, less its mean, at a level drawn from ± `level` dB; so two
  sources lie up to twice that apart. Their sum and they themselves are scaled together to a peak of
  0.9. Nothing is drawn anew from epoch to epoch: mixture i of a split is always the same.

  Args:
    path: the folder or zip.
    length: samples of a mixture.
    sources: how many speak at once.
    level: in dB.
    sizes: how many mixtures a split has; unless said, one for every recording.
    label: who speaks, as `wav.open` finds it: "folder", or a pattern, "{digit}_{label}_{n}.wav".
    test_where: recordings of the test split, as in `wav.open`. Whole speakers are held out by
      `{"label": ("anna",)}`.
    seed: of all that is drawn.
    on_error: as in `wav.open`.

  Raises:
    BadInput: whatever `wav.open` refuses, fewer speakers in a split than sources, no such split, or
      a number out of range.
  """
  whole("length", length, least=2)
  whole("sources", sources, least=2)
  if level < 0:
    raise BadInput(f"data.level is in dB around the mean, not negative, got {level}")
  options: dict[str, Any] = dict(label=label, test_where=test_where, on_error=on_error)
  record, splits = wav.open(path, **options)
  sizes = dict(sizes or {})
  if extra := [name for name in sizes if name not in splits]:
    raise unknown("split in data.sizes", extra[0], splits)
  found: dict[str, Source] = {}
  for name, audio in splits.items():
    labels = getattr(audio, "labels", ())
    if len(set(labels)) < sources:
      raise BadInput(f"{name} has {len(set(labels))} speakers, mixtures of {sources} need as many")
    number = sizes.get(name, len(audio))
    whole(f"data.sizes.{name}", number, least=1)
    drawn: dict[str, Any] = dict(level=level, seed=(seed, zlib.crc32(name.encode())))
    drawn["keep"] = 4 * record.shape[0] * len(audio) <= _KEPT
    found[name] = Mixtures(audio, labels, number, sources=sources, length=length, **drawn)
  counts = {name: len(source) for name, source in found.items()}
  return Record("mixture", (sources, length), counts, rate=record.rate), found
