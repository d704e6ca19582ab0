"""Frames laid down again, and transforms turned back into signals."""

import jax
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.spectrogram import frames, istft, overlap_add, stft

RNG = np.random.default_rng(0)
PLAIN = dict(centre=False, emphasis=0.0)


@pytest.mark.parametrize(("size", "hop"), [(4, 2), (5, 2), (6, 6), (3, 5), (4, 1)])
def test_overlap_add_is_the_transpose_of_frames(size, hop):
  x = RNG.normal(size=(2, 5, size)).astype(np.float32)
  y = RNG.normal(size=(2, 4 * hop + size)).astype(np.float32)
  add = lambda x: overlap_add(x, hop=hop)
  back = np.asarray(jax.jit(add)(x))
  assert back.shape == y.shape
  cut = jax.jit(lambda y: frames(y, size=size, hop=hop))(y)
  np.testing.assert_allclose((back * y).sum(), (x * np.asarray(cut)).sum(), rtol=1e-4)
  if (size, hop) == (5, 2):
    np.testing.assert_allclose(add(x), back, rtol=1e-5)


def test_frames_lie_at_least_one_apart():
  with pytest.raises(BadInput, match="hop=0"):
    overlap_add(np.ones((2, 3)), hop=0)


@pytest.mark.parametrize(("size", "hop"), [(32, 8), (32, 12), (30, 15)])
def test_a_signal_comes_back(size, hop):
  x = RNG.normal(size=(3, size + 20 * hop)).astype(np.float32)
  cut = dict(size=size, hop=hop)
  turn = lambda x: istft(stft(x, fft=size, **cut, **PLAIN), **cut)
  found = jax.jit(turn)(x)
  np.testing.assert_allclose(found[:, 2:-2], x[:, 2:-2], atol=2e-2 if hop == 15 else 1e-4)
  if size == 30:
    np.testing.assert_allclose(turn(x)[:, 2:-2], found[:, 2:-2], atol=1e-3)


def test_a_changed_transform_is_turned_back_by_least_squares():
  transform = RNG.normal(size=(9, 9)) + 1j * RNG.normal(size=(9, 9))
  size, hop, n = 16, 4, 48
  windowed = frames(np.eye(n), size=size, hop=hop) * np.hanning(size)  # [sample, frame, place]
  wanted = np.fft.irfft(transform, n=size).reshape(-1)
  best = np.linalg.lstsq(windowed.reshape(n, -1).T, wanted, rcond=None)[0]
  np.testing.assert_allclose(istft(transform, size=size, hop=hop)[1:-1], best[1:-1], atol=1e-4)
