"""Clips of an image that moves in front of another one, and clips of an npz file."""

import pickle

import numpy as np
import pytest

from maskjax.data import pipeline
from maskjax.data.motion import path
from maskjax.errors import BadInput


@pytest.fixture
def images(tmp_path):
  """An npz of small images: their pixels tell which image they are of."""
  rng = np.random.default_rng(0)
  arrays = {}
  for split, n in (("train", 7), ("test", 3)):
    arrays[f"{split}_images"] = rng.integers(100, 255, (n, 4, 4, 3), np.uint8)
    arrays[f"{split}_labels"] = np.arange(n) % 3
  np.savez(tmp_path / "images.npz", **arrays)
  return {"name": "motion", "images": "npz", "path": str(tmp_path / "images.npz")}, arrays


SIZES = {"frames": 6, "size": (12, 16), "side": 4}


def test_one_image_moves_over_another_that_stands_still(images):
  spec, arrays = images
  data = pipeline.load(**spec, **SIZES, opaque=True, still=0.0, speed=3.0, draws=2)
  assert (data.record.kind, data.record.shape) == ("video", (6, 12, 16, 3))
  assert data.record.sizes == {"train": 14, "test": 3}
  places = set()
  for i in range(14):
    example = data.splits["train"][i]
    assert example["label"] == arrays["train_labels"][i % 7]
    for frame in example["video"]:
      rows, columns = (np.flatnonzero(frame.any((axis, 2))) for axis in (1, 0))
      assert (len(rows), len(columns)) == (4, 4)
      cut = frame[rows[0] : rows[0] + 4, columns[0] : columns[0] + 4]
      np.testing.assert_array_equal(cut, arrays["train_images"][i % 7])
      places.add((rows[0], columns[0]))
  # It comes to every border.
  assert {0, 8} <= {top for top, _ in places}
  assert {0, 12} <= {left for _, left in places}


def test_what_stands_still_shows_through_what_is_dark(images):
  spec, _ = images
  data = pipeline.load(**spec, **SIZES, speed=2.0, still=0.5)
  for i in range(3):
    clip = data.splits["test"][i]["video"].astype(int)
    never = (clip == clip[:1]).all(0)
    assert 0.3 < never.mean() < 1
    # The moving image only adds light.
    assert (clip >= clip.min(0)).all()
    assert clip.max() > clip[:, never].max()


def test_others_as_large_stand_still_behind_what_moves(images):
  spec, _ = images
  data = pipeline.load(**spec, **SIZES, opaque=True, still=0.0, speed=3.0, resting=2)
  alone = pipeline.load(**spec, **SIZES, opaque=True, still=0.0, speed=3.0)
  for i in range(7):
    clip, moving = (d.splits["train"][i]["video"] for d in (data, alone))
    np.testing.assert_array_equal(clip[moving > 0], moving[moving > 0])
    rest = np.where(moving > 0, 0, clip)
    seen = rest.max(0)
    assert 16 <= (seen.any(-1)).sum() <= 32
    # Still wherever what moves is not.
    np.testing.assert_array_equal(rest, np.where(moving > 0, 0, seen))


def test_clips_are_the_same_at_every_call_and_differ_between_seeds_splits_and_draws(images):
  spec, _ = images
  load = lambda **words: pipeline.load(**spec, **SIZES, draws=2, **words).splits
  one, same, other = load(), load(), load(seed=1)
  clip = lambda splits, i=0, split="train": splits[split][i]["video"]
  np.testing.assert_array_equal(clip(one), clip(same))
  np.testing.assert_array_equal(clip(one), clip(pickle.loads(pickle.dumps(one))))
  for different in (clip(other), clip(one, 7), clip(one, split="test")):
    assert (clip(one) != different).any()


def test_places_lie_on_a_line_thrown_back_at_the_ends():
  room = np.array([5, 30])
  for seed in range(20):
    places = path(np.random.default_rng(seed), room, 100, 3.0)
    assert (places >= 0).all()
    assert (places <= room).all()
    steps = np.diff(places, axis=0)
    assert np.abs(steps).max() <= 4
    # Along one axis or the other it travels far.
    assert (places.max(0) - places.min(0) >= (5, 15)).any()
  still = path(np.random.default_rng(0), np.array([0, 4]), 9, 2.0)
  assert (still[:, 0] == 0).all()


def test_batches_are_normalised_by_channel(images):
  spec, _ = images
  data = pipeline.load(**spec, **SIZES, draws=2)
  whole = np.stack(
    [example["video"] for example in map(data.splits["train"].__getitem__, range(14))]
  )
  np.testing.assert_allclose(data.record.mean, whole.mean((0, 1, 2, 3)) / 255, rtol=1e-5)
  batch = next(pipeline.batches(data, batch_size=14, seed=0))
  assert batch["video"].dtype == np.float32
  np.testing.assert_allclose(batch["video"].mean((0, 1, 2, 3)), 0, atol=1e-4)
  np.testing.assert_allclose(batch["video"].std((0, 1, 2, 3)), 1, rtol=1e-4)
  last = list(pipeline.examples(data, "test", batch_size=2))[-1]
  assert last["valid"].tolist() == [True, False]


@pytest.mark.parametrize(
  ("words", "says"),
  [
    ({"side": 13}, "data.side=13 does not fit into clips of 12x16"),
    ({"frames": 0}, "must be positive"),
    (
      {"augment": {"flip": True}},
      "data.augment is not for data of kind video",
    ),
    ({"fps": 3}, "data.fps is not for 'motion'"),
  ],
)
def test_what_cannot_work_is_refused(images, words, says):
  spec, _ = images
  with pytest.raises(BadInput, match=says):
    pipeline.load(**spec, **{**SIZES, **words})


def test_an_npz_holds_clips(tmp_path):
  clips = np.random.default_rng(0).integers(0, 255, (5, 4, 6, 6, 3), np.uint8)
  np.savez(tmp_path / "clips.npz", train_videos=clips, train_labels=np.arange(5))
  data = pipeline.load(name="npz", path=str(tmp_path / "clips.npz"), test="")
  assert (data.record.kind, data.record.shape) == ("video", (4, 6, 6, 3))
  example = data.splits["train"][2]
  np.testing.assert_array_equal(example["video"], clips[2])
  assert example["label"] == 2
  with pytest.raises(BadInput, match=r"data\.size is for images"):
    pipeline.load(name="npz", path=str(tmp_path / "clips.npz"), test="", size=(8, 8))
