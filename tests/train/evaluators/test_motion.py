"""Rates of visible patches among those that move, and the recovery of given masks."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.sections import bound
from maskjax.train.evaluators import masked_reconstruction, motion

PATCH, GRID, SHAPE = (2, 2, 2), (2, 4, 4), (4, 8, 8, 1)
ENCODER = types.SimpleNamespace(patch=PATCH, grid=GRID)


def clips(n=5):
  """Noise that stands still, and a square of two by two pixels that goes down by two a frame."""
  video = np.repeat(np.random.default_rng(0).normal(size=(n, 1, *SHAPE[1:])), 4, axis=1)
  for frame in range(4):
    video[:, frame, 2 * frame : 2 * frame + 2, :2] = 9
  return video.astype(np.float32)


def context(views, video):
  """A stand-in for the loop's, whose task has these views."""
  n = len(video)

  def examples(split, batch_size):
    padded = np.concatenate([video, np.zeros((batch_size - n, *SHAPE), np.float32)])
    yield {"video": padded, "valid": np.arange(batch_size) < n}

  return types.SimpleNamespace(
    task=types.SimpleNamespace(
      answers={"views": views}, network=types.SimpleNamespace(encoder=ENCODER, grid=GRID)
    ),
    record=Record("video", SHAPE, {"train": n, "test": n}),
    key=jax.random.key(0),
    variables={},
    examples=examples,
    mesh=types.SimpleNamespace(
      check=lambda *sizes: None, put_whole=lambda batch: batch, get=jax.device_get
    ),
  )


def shows(visible):
  """Views of a task that shows these pixels and predicts zeros."""

  def views(variables, batch, key, hidden=None):
    video = batch["video"]
    return {
      "input": video,
      "seen": jnp.where(visible(video), video, jnp.nan),
      "prediction": jnp.zeros_like(video),
    }

  return views


def test_rates_are_those_of_patches_that_move():
  video = clips()
  left = np.broadcast_to(np.arange(8)[:, None] < 2, SHAPE)
  given = motion(context(shows(lambda video: left), video), batch_size=8)
  # The square leaves marks at the left border in all but the frames that it is far from.
  moving = np.zeros(GRID, bool)
  moving[0, :3, 0] = moving[1, 1:, 0] = True
  assert given["share"] == pytest.approx(moving.mean())
  assert given["moving"] == 1
  assert given["still"] == pytest.approx(2 / 26)
  assert given["ratio"] == pytest.approx(13)
  corner = lambda video: jnp.zeros(SHAPE, bool).at[:2, 6:, 6:].set(True)
  other = motion(context(shows(corner), video), batch_size=8)
  assert (other["moving"], other["still"]) == (0, pytest.approx(1 / 26))
  assert other["ratio"] == 0


def sharpest(video):
  """Where patches have the largest deviation: a sampler that follows contrast, not motion."""
  cells = video.reshape(-1, 2, 2, 4, 2, 4, 2)
  detail = cells.std((2, 4, 6), keepdims=True)
  most = jnp.sort(detail.reshape(len(video), -1))[:, -10].reshape(-1, 1, 1, 1, 1, 1, 1)
  return jnp.broadcast_to(detail >= most, cells.shape).reshape(video.shape)


def test_what_follows_contrast_alone_does_not_prefer_what_moves_of_equal_detail():
  rng = np.random.default_rng(0)
  video = np.repeat(0.2 * rng.normal(size=(64, 1, *SHAPE[1:])), 4, axis=1)
  # As large squares of any brightness, still ones and one that goes down by two a frame.
  bright = lambda: rng.uniform(1, 9, (64, 1, 1, 1))
  video[:, :, 0:2, 4:6] = bright()[:, None]
  video[:, :2, 4:6, 6:8] = bright()[:, None]
  for frame in range(4):
    video[:, frame, 2 * frame : 2 * frame + 2, :1] = bright()
  given = motion(context(shows(sharpest), video.astype(np.float32)), batch_size=64)
  assert given["ratio"] > 2
  assert 0.7 < given["matched_ratio"] < 1.4
  moving = lambda video: jnp.zeros(video.shape, bool).at[..., :2, :].set(True)
  given = motion(context(shows(moving), video.astype(np.float32)), batch_size=64)
  assert given["matched_ratio"] > 5


def test_clips_without_motion_are_refused():
  still = np.zeros((3, *SHAPE), np.float32)
  with pytest.raises(BadInput, match="nothing in split 'test' moves"):
    motion(context(shows(lambda video: jnp.ones(SHAPE, bool)), still), batch_size=8)


def test_recovery_is_measured_under_masks_that_are_given():
  asked = []

  def views(variables, batch, key, hidden=None):
    asked.append(hidden)
    wide = jnp.zeros(SHAPE, bool) if hidden is None else jnp.ones(SHAPE, bool)
    return shows(lambda video: ~wide)(variables, batch, key)

  video = clips()
  white = bound(dict(fn="score.uniform"))
  words = dict(score=white, select=bound(dict(fn="select.top", ratio=0.75)))
  given = masked_reconstruction(context(views, video), batch_size=8, **words)
  assert asked[-1].shape == (8, 32)
  mean = video.mean(0)
  expected = (video**2).sum() / ((video - mean) ** 2).sum()
  assert given["ratio"] == pytest.approx(expected, rel=1e-4)
  masked_reconstruction(context(shows(lambda video: jnp.zeros(SHAPE, bool)), video), batch_size=8)
  with pytest.raises(BadInput, match="both a score and a select"):
    masked_reconstruction(context(views, video), batch_size=8, score=white)
  with pytest.raises(BadInput, match="logistic needs"):
    masked_reconstruction(
      context(views, video),
      batch_size=8,
      **{**words, "score": bound(dict(fn="score.logistic", ratio=0.3))},
    )


def test_where_no_pixel_is_hidden_what_is_pasted_is_measured_at_all_of_them():
  def views(variables, batch, key):
    half = batch["video"] / 2
    return {"input": batch["video"], "seen": half, "prediction": -half, "pasted": half, "hidden": 0}

  video = clips()
  given = masked_reconstruction(context(views, video), batch_size=8)
  assert given["error"] == pytest.approx(((video / 2) ** 2).mean(), rel=1e-4)
