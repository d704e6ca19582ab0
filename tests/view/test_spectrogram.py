"""Spectrograms lie on their side: time to the right, low frequencies below, loud is bright."""

import numpy as np

from maskjax.record import Record
from maskjax.view import grid as layout
from maskjax.view.spectrogram import shown, turned

SPECTROGRAM = Record(
  "image", (4, 6, 1), {}, mean=(-4.0,), std=(2.0,), rate=8000, low=(-16.0,), high=(0.0,)
)
IMAGE = Record("image", (4, 6, 1), {}, mean=(0.5,), std=(0.25,))


def test_time_runs_right_and_frequency_up():
  x = np.full((1, 4, 6, 1), -6.0)
  x[0, 3, 0] = 2.0  # the last time, the lowest frequency: 0 in the file's units
  pixels = shown(x, SPECTROGRAM)
  assert pixels.shape == (1, 6, 4, 3)
  assert (pixels[0, -1, -1] == 255).all()
  pixels[0, -1, -1] = 0
  assert not pixels.any()


def test_low_is_black_and_high_is_white():
  values = np.array([-16.0, -8.0, 0.0, 9.0])
  x = ((values + 4) / 2).reshape(1, 1, 4, 1)
  assert shown(x, SPECTROGRAM)[0, ::-1, 0, 0].tolist() == [0, 128, 255, 255]


def test_nothing_is_hatched():
  x = np.zeros((1, 4, 6, 1))
  x[0, 0] = np.nan
  pixels = shown(x, SPECTROGRAM, scale=3)
  assert pixels.shape == (1, 18, 12, 3)
  strokes = np.isin(pixels[..., 0], [layout.GREY, layout.STROKE])
  assert strokes[0, :, :3].all()
  assert not strokes[0, :, 3:].any()


def test_images_stay_as_they_are():
  x = np.random.default_rng(0).normal(size=(2, 4, 6, 1))
  np.testing.assert_array_equal(turned(x, IMAGE), x)
  np.testing.assert_array_equal(shown(x, IMAGE), layout.denormalise(x, IMAGE.mean, IMAGE.std))
