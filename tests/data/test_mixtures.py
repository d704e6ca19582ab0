"""Mixtures: their sum, their levels, who speaks, and that they are always the same."""

import pickle

import numpy as np
import pytest

from maskjax.data import mixtures, pipeline, wav
from maskjax.errors import BadInput
from maskjax.record import Record

RATE, SHORT, LONG = 8000, 300, 900
PATTERN = {"label": "{digit}_{label}_{n}.wav", "test_where": {"n": ("0",)}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Three speakers, each a tone of an own frequency, three recordings each, of any length."""
  place = tmp_path_factory.mktemp("speakers")
  rng = np.random.default_rng(0)
  for who, frequency in (("anna", 400), ("berta", 1000), ("carl", 2200)):
    for n in range(3):
      time = np.arange(rng.integers(SHORT, LONG)) / RATE
      tone = rng.uniform(0.05, 0.9) * np.sin(2 * np.pi * frequency * time)
      wav.write(place / f"7_{who}_{n}.wav", tone, RATE)
  return place


def opened(folder, **changes):
  return mixtures.open(str(folder), **{"length": 500, **PATTERN, **changes})


def loudest(signal):
  """The frequency of a signal in Hz."""
  return np.abs(np.fft.rfft(signal)).argmax() * RATE / len(signal)


def test_the_record_says_what_is_asked_for(folder):
  record, splits = opened(folder, sizes={"train": 20})
  assert record == Record("mixture", (2, 500), {"train": 20, "test": 3}, rate=RATE)
  assert {name: len(source) for name, source in splits.items()} == record.sizes
  with pytest.raises(IndexError):
    splits["test"][3]


@pytest.mark.parametrize("sources", [2, 3])
def test_mixtures_are_sums_of_different_speakers(folder, sources):
  _, splits = opened(folder, sources=sources, sizes={"train": 30})
  for i in range(30):
    example = splits["train"][i]
    assert example["sources"].shape == (sources, 500)
    assert example["mixture"].dtype == example["sources"].dtype == np.float32
    np.testing.assert_allclose(example["mixture"], example["sources"].sum(0), atol=1e-6)
    largest = max(np.abs(example[name]).max() for name in example)
    np.testing.assert_allclose(largest, 0.9, rtol=1e-4)
    assert len({round(loudest(s), -2) for s in example["sources"]}) == sources
    np.testing.assert_allclose(example["sources"].mean(-1), 0, atol=1e-4)


def test_levels_are_drawn_evenly_within_the_bounds(folder):
  _, splits = opened(folder, sizes={"train": 300})
  power = np.array([np.log10((splits["train"][i]["sources"] ** 2).mean(-1)) for i in range(300)])
  apart = 10 * (power[:, 0] - power[:, 1])
  assert np.abs(apart).max() <= 5.01
  # The difference of two even draws of ± 2.5 dB: triangular, of deviation 5 / √6.
  assert abs(apart.std() - 5 / 6**0.5) < 0.25
  assert abs(apart.mean()) < 0.35
  level = {"level": 0.0, "sizes": {"train": 5}}
  _, same = opened(folder, **level)
  powers = (same["train"][0]["sources"] ** 2).mean(-1)
  np.testing.assert_allclose(powers[0], powers[1], rtol=1e-4)


def test_short_recordings_are_repeated_and_of_long_ones_any_stretch_is_taken(folder):
  _, splits = opened(folder, length=2000)
  assert (np.abs(splits["train"][0]["sources"][:, -50:]).max(-1) > 0.05).all()
  _, splits = opened(folder, length=10, sizes={"train": 60})
  begins = {tuple(np.round(splits["train"][6 * i]["sources"][0], 3)) for i in range(10)}
  assert len(begins) > 5


def test_a_mixture_is_the_same_at_every_call_and_another_for_another_seed(folder):
  _, splits = opened(folder)
  _, again = opened(folder)
  _, other = opened(folder, seed=1)
  copy = pickle.loads(pickle.dumps(splits["train"]))
  for i in (0, 4):
    for found in (splits["train"][i], again["train"][i], copy[i]):
      np.testing.assert_array_equal(found["sources"], splits["train"][i]["sources"])
    assert (other["train"][i]["sources"] != splits["train"][i]["sources"]).any()


def test_held_out_recordings_are_in_no_training_mixture(folder):
  train, test = (opened(folder)[1][name] for name in ("train", "test"))
  assert not set(train.audio.names) & set(test.audio.names)
  held = {"test_where": {"label": ("anna", "carl")}}
  with pytest.raises(BadInput, match="train has 1 speakers, mixtures of 2 need as many"):
    opened(folder, **held)


@pytest.mark.parametrize(
  ("changes", "says"),
  [
    ({"sources": 1}, "sources is a whole number from 2 up"),
    ({"sources": 4}, "3 speakers, mixtures of 4"),
    ({"length": 1}, "length is a whole number"),
    ({"level": -1.0}, "not negative"),
    ({"sizes": {"tset": 3}}, "test"),
    ({"sizes": {"test": 0}}, r"sizes\.test is a whole number"),
  ],
)
def test_what_cannot_work_is_refused(folder, changes, says):
  with pytest.raises(BadInput, match=says):
    opened(folder, **changes)


def test_batches_hold_mixtures_and_their_sources(folder):
  data = pipeline.load(name="mixtures", path=str(folder), length=500, **PATTERN)
  batch = next(pipeline.batches(data, batch_size=4, seed=0, threads=1))
  assert batch["mixture"].shape == (4, 500)
  assert batch["sources"].shape == (4, 2, 500)
  [last] = pipeline.examples(data, "test", batch_size=4)
  assert last["valid"].tolist() == [True] * 3 + [False]


def test_what_is_written_is_read(tmp_path):
  signal = np.random.default_rng(0).uniform(-1.2, 1.2, size=(50, 2))
  wav.write(tmp_path / "a.wav", signal, 16_000)
  record, splits = wav.open(str(tmp_path), label="", test_where=None)
  assert (record.shape, record.rate) == ((50, 2), 16_000)
  [source] = splits.values()
  np.testing.assert_allclose(source[0]["audio"], signal.clip(-1, 1), atol=2**-15)
