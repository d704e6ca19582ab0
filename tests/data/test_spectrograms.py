"""Recordings as images of time by frequency."""

import pathlib
import pickle

import numpy as np
import pytest
import soundfile

from maskjax.data import kinds, pipeline, spectrograms
from maskjax.data.augment import apply
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.spectrogram import EPS, log_mel
from maskjax.train.checkpoints.load import preprocess_of

DIGITS = pathlib.Path(__file__).parents[2] / ".." / "shared" / "data" / "spoken_digit.zip"
RATE, LONGEST = 8000, 2000
LENGTHS = (2000, 700, 100, 0)


class Clips:
  """Noise of several lengths in two channels, of which the second is zero; garbage follows."""

  def __len__(self):
    return len(LENGTHS)

  def __getitem__(self, i):
    audio = np.random.default_rng(i).normal(size=(LONGEST, 2)).astype(np.float32) + 0.5
    audio[: LENGTHS[i], 1] = 0
    return {"audio": audio, "valid": np.arange(LONGEST) < LENGTHS[i], "label": i}


def opened(**mel):
  record = Record("audio", (LONGEST, 2), {"train": 4}, rate=RATE)
  return spectrograms.of(record, {"train": Clips()}, **{"frames": 16, "bins": 12, **mel})


def test_an_image_is_the_log_mel_of_the_samples_that_are_there_then_zeros():
  record, splits = opened()
  assert (record.kind, record.shape, record.rate) == ("image", (16, 12, 1), RATE)
  for i, length in enumerate(LENGTHS):
    example = splits["train"][i]
    assert (example["label"], example["image"].dtype) == (i, np.float32)
    signal = Clips()[i]["audio"][:length].mean(-1)
    signal = signal - (signal.mean() if length else 0)
    if 0 < length < 200:  # less than a window is filled up to one
      signal = np.concatenate([signal, np.zeros(200 - length, np.float32)])
    levels = log_mel(signal, rate=RATE, bins=12)[:16]
    np.testing.assert_array_equal(example["image"][: len(levels), :, 0], levels)
    assert not example["image"][len(levels) :].any()
    assert len(levels) == (min(1 + (max(length, 200) - 200) // 80, 16) if length else 0)


def test_the_record_knows_the_range_for_pictures():
  record, splits = opened()
  every = np.stack([splits["train"][i]["image"] for i in range(4)])
  assert (record.low, record.high) == ((every.min(),), (every.max(),))
  assert np.log(EPS) <= record.low[0] < record.high[0]


def test_examples_stay_and_copies_start_empty():
  source = opened()[1]["train"]
  first = source[0]
  assert source[0]["image"] is first["image"]
  assert not first["image"].flags.writeable
  copy = pickle.loads(pickle.dumps(source))
  assert not copy._kept
  np.testing.assert_array_equal(copy[0]["image"], first["image"])


@pytest.mark.parametrize(
  ("mel", "says"),
  [
    ({"frames": 0}, "mel.frames is a whole number from 1 up"),
    ({"bins": 0}, "0 mel bins"),
    ({"high": 5000.0}, "between 20 and 5000 Hz"),
    ({"hops": 1}, "data.mel: .*'hops'"),
  ],
)
def test_bad_input(mel, says):
  with pytest.raises(BadInput, match=says):
    opened(**mel)


def test_only_audio_has_spectrograms():
  with pytest.raises(BadInput, match="mel is for data of kind audio, the data set holds image"):
    spectrograms.of(Record("image", (4, 4, 1), {}), {}, frames=4)


def test_rolling_moves_times_round():
  image = np.arange(12, dtype=np.float32).reshape(4, 3, 1)
  rng = np.random.default_rng(0)
  rolled = [apply(image, rng, size=(4, 3), rolls=True) for _ in range(40)]
  starts = {int(x[0, 0, 0]) // 3 for x in rolled}
  assert starts == {0, 1, 2, 3}
  for x in rolled:
    np.testing.assert_array_equal(x, np.roll(image, -int(x[0, 0, 0]) // 3, axis=0))


def recordings(folder, count=6, **mel):
  """Noise of several lengths as 16-bit numbers, and the pipeline's spectrograms of it."""
  rng = np.random.default_rng(0)
  noise = [rng.integers(-9000, 9000, 1500 + 400 * i).astype(np.int16) for i in range(count)]
  (folder / "train").mkdir()
  for i, samples in enumerate(noise):
    soundfile.write(folder / "train" / f"{i}.wav", samples, RATE, subtype="PCM_16")
  section = dict(length=3000, mel={"frames": 24, "bins": 12, **mel})
  return noise, section, pipeline.load(name="wav", path=str(folder), test="", **section)


def test_a_run_on_spectrograms_takes_recordings(tmp_path):
  noise, section, data = recordings(tmp_path)
  wanted = next(pipeline.examples(data, "train", batch_size=6))["image"]
  prepare = preprocess_of({**section, "name": "wav"}, data.record)
  for given in (noise, [x / 2**15 for x in noise], [np.stack([x, x], 1) for x in noise]):
    np.testing.assert_allclose(prepare(given)["image"], wanted, atol=1e-5)
  assert preprocess_of({"name": "npz"}, data.record).func is kinds.image.preprocess


@pytest.mark.parametrize(
  ("given", "says"),
  [
    (np.zeros(99), r"takes a list of recordings, got a single one: \[recording\]"),
    ([np.full(9, 300.0)], r"lie in \[-1, 1\], got up to 300: divide them"),
    ([np.full(9, np.nan)], r"lie in \[-1, 1\]"),
    ([np.zeros((2, 3, 4))], r"samples \[n\] or \[n, channels\], got float64 \(2, 3, 4\)"),
    (["a.wav"], r"got the path 'a.wav': \[soundfile.read\(path\)"),
    ([np.zeros(0)], r"got float64 \(0,\)"),
    ([np.zeros(9, np.uint8)], "got uint8"),
  ],
)
def test_what_is_no_recording_is_refused(given, says):
  record = Record("image", (4, 4, 1), {}, mean=(0.0,), std=(1.0,), rate=RATE)
  with pytest.raises(BadInput, match=says):
    spectrograms.preprocess(given, record, frames=4, bins=4)


@pytest.mark.skipif(not DIGITS.exists(), reason="needs shared/data/spoken_digit.zip")
def test_spoken_digits_as_normalised_images():
  data = pipeline.load(
    name="wav",
    path=str(DIGITS),
    label="{label}_{speaker}_{n}.wav",
    test_where={"n": ("0", "1", "2", "3", "4")},
    limit=64,
    mel={"frames": 80, "bins": 64},
  )
  assert data.record.shape == (80, 64, 1)
  assert data.record.sizes == {"train": 64, "test": 300}
  assert data.record.class_names == tuple("0123456789")
  batch = next(pipeline.batches(data, batch_size=64, seed=0, threads=1, prefetch=1))
  assert batch["image"].shape == (64, 80, 64, 1)
  np.testing.assert_allclose(batch["image"].mean(), 0, atol=1e-3)
  np.testing.assert_allclose(batch["image"].std(), 1, atol=1e-3)
