"""Spectrograms against Kaldi's filterbank in torchaudio, SciPy's transform, pure tones."""

import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy import signal as scipy_signal

from maskjax import spectrogram
from maskjax.errors import BadInput

GOLDEN = load_file(pathlib.Path(__file__).parent / "golden" / "audio_mae.safetensors")
SETTINGS = {"16k": {"rate": 16_000, "bins": 128}, "8k": {"rate": 8_000, "bins": 64}}
noise = lambda *shape: np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("on", [jax.jit, lambda f: f], ids=["jit", "numpy"])
def test_mel_bands_are_those_of_the_public_code(name, on):
  levels = on(partial(spectrogram.log_mel, **SETTINGS[name]))(GOLDEN[f"audio/{name}"])
  assert isinstance(levels, jax.Array if on is jax.jit else np.ndarray)
  assert levels.dtype == np.float32
  # Logarithms of powers that float32 holds with 1e-3 of the weakest.
  np.testing.assert_allclose(levels, GOLDEN[f"mel/{name}"], atol=2e-3)
  assert np.abs(levels - GOLDEN[f"mel/{name}"]).mean() < 1e-5


def test_the_plain_transform_is_scipys():
  x = noise(2, 400)
  ours = spectrogram.stft(jnp.asarray(x), size=64, hop=16, fft=128, centre=False, emphasis=0.0)
  window = np.hanning(64)
  theirs = scipy_signal.stft(
    x, window=window, nperseg=64, noverlap=48, nfft=128, boundary=None, padded=False
  )[2]
  np.testing.assert_allclose(ours, theirs.swapaxes(-1, -2) * window.sum(), atol=1e-4)


def test_leading_axes_and_both_kinds_of_arrays_agree():
  x = noise(2, 3, 1000)
  f = partial(spectrogram.log_mel, rate=8000, bins=20)
  one = np.stack([[f(row) for row in rows] for rows in x])
  np.testing.assert_allclose(f(x), one, atol=1e-5)
  np.testing.assert_allclose(jax.vmap(jax.vmap(f))(x), one, atol=1e-3)
  slope = jax.grad(lambda x: f(x).sum())(jnp.asarray(x))
  assert np.isfinite(slope).all()
  assert slope.any()


@pytest.mark.parametrize("hz", [200, 1000, 3000])
def test_a_tone_is_loudest_in_its_band(hz):
  tone = np.sin(2 * np.pi * hz * np.arange(4000) / 8000).astype(np.float32)
  edges = np.linspace(*(1127 * np.log1p(f / 700) for f in (20, 4000)), 42)
  band = np.abs(edges[1:-1] - 1127 * np.log1p(hz / 700)).argmin()
  levels = spectrogram.log_mel(tone, rate=8000, bins=40)
  assert (np.abs(levels.argmax(-1) - band) <= 1).all()


def test_neighbouring_filters_sum_to_one_between_their_centres():
  filters = spectrogram.mel_filters(10, rate=8000, fft=1024, low=0.0)
  peaks = filters.argmax(axis=0)
  np.testing.assert_allclose(filters[peaks[0] + 1 : peaks[-1]].sum(-1), 1, atol=1e-6)
  assert (np.diff(peaks) > 0).all()


def test_frames_leave_out_the_rest():
  x = np.arange(11)
  assert spectrogram.frames(x, size=4, hop=3).tolist() == [
    [i, i + 1, i + 2, i + 3] for i in (0, 3, 6)
  ]
  assert spectrogram.frames(x[:3], size=4, hop=3).shape == (0, 4)
  assert spectrogram.log_mel(np.zeros(1, np.float32), rate=8000, bins=8).shape == (0, 8)


def test_silence_has_the_least_value():
  levels = spectrogram.log_mel(np.zeros(800, np.float32), rate=8000, bins=8)
  np.testing.assert_allclose(levels, np.log(spectrogram.EPS), rtol=1e-6)


@pytest.mark.parametrize(
  ("call", "says"),
  [
    (lambda: spectrogram.frames(np.zeros(9), size=0, hop=1), "at least 1, got size=0"),
    (lambda: spectrogram.stft(np.zeros(9), size=8, hop=1, fft=4), "4 samples does not hold"),
    (lambda: spectrogram.mel_filters(0, rate=8, fft=8), "0 mel bins"),
    (lambda: spectrogram.mel_filters(4, rate=800, fft=8, high=500), "between 20 and 500 Hz"),
  ],
)
def test_bad_input(call, says):
  with pytest.raises(BadInput, match=says):
    call()
