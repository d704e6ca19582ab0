"""Frames of clips as pictures."""

import numpy as np

from maskjax.record import Record
from maskjax.view.heat import tints
from maskjax.view.legend import SCALE
from maskjax.view.reconstruction import draw
from maskjax.view.video import stills


def test_frames_are_evenly_spaced_and_clip_by_clip():
  video = np.arange(2 * 8 * 3 * 4, dtype=float).reshape(2, 8, 3, 4, 1)
  shown = stills({"input": video, "chance": video[..., 0], "target": np.zeros((2, 10))}, frames=4)
  assert set(shown) == {"input", "chance"}
  expected = np.concatenate([video[0, ::2], video[1, ::2]])
  np.testing.assert_array_equal(shown["input"], expected)
  np.testing.assert_array_equal(shown["chance"], expected[..., 0])
  assert stills({"input": video[:, :3]})["input"].shape == (6, 3, 4, 1)


def test_a_map_without_channels_is_coloured_beside_its_frames():
  record = Record("video", (4, 6, 6, 1), {"test": 2}, mean=(0.5,), std=(0.2,))
  views = {"input": np.zeros((2, 4, 6, 6, 1)), "seen": np.full((2, 4, 6, 6, 1), np.nan)}
  alone = draw(views, record)
  with_map = draw({**views, "chance": np.ones((2, 4, 6, 6))}, record)
  assert with_map.shape[0] == alone.shape[0]
  assert with_map.shape[1] > alone.shape[1]
  assert (with_map == SCALE[-1]).all(-1).sum() >= 8 * 96 * 96


def test_tints_go_from_light_to_dark_and_no_further():
  colours = tints(np.array([-1.0, 0.0, 0.5, 1.0, 2.0])).astype(int)
  np.testing.assert_array_equal(colours[0], SCALE[0])
  np.testing.assert_array_equal(colours[-1], SCALE[-1])
  assert (np.diff(colours.sum(-1)) <= 0).all()
