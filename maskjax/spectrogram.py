"""Spectrograms: frames of a signal, their Fourier transform, their power in mel bands.

Of JAX arrays, under `jit`, `vmap` and `grad`, and of NumPy arrays on the host, by the same code.
"""

from functools import partial
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from maskjax.errors import BadInput

EPS = float(np.finfo(np.float32).eps)  # of power: what is below, silence too, has its logarithm


def frames(
  signal: Float[Array, "*b n"] | Float[np.ndarray, "*b n"], *, size: int, hop: int
) -> Float[Array, "*b f {size}"] | Float[np.ndarray, "*b f {size}"]:
  """Cuts frames of `size` samples that begin `hop` apart; what fills none is left out.

  f is `1 + (n - size) // hop`, 0 where the signal is shorter than a frame.

  Raises:
    BadInput: a size or hop below 1.

  >>> frames(np.arange(6.0), size=3, hop=2).tolist()
  [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]
  """
  if size < 1 or hop < 1:
    raise BadInput(f"frames have a size and a hop of at least 1, got {size=} and {hop=}")
  number = max(1 + (signal.shape[-1] - size) // hop, 0)
  return signal[..., hop * np.arange(number)[:, None] + np.arange(size)]


def stft(
  signal: Float[Array, "*b n"] | Float[np.ndarray, "*b n"],
  *,
  size: int,
  hop: int,
  fft: int | None = None,
  centre: bool = True,
  emphasis: float = 0.97,
) -> Complex[Array, "*b f k"] | Complex[np.ndarray, "*b f k"]:
  r"""The short-time Fourier transform as Kaldi takes it, k = fft // 2 + 1 frequencies a frame.

  Every frame by itself: its mean is taken away (`centre`), $x_t - 0.97\,x_{t-1}$ raises its high
  frequencies ($x_{-1} = x_0$; `emphasis=0` leaves them), a symmetric Hann window weighs it, zeros
  fill it up to `fft` samples, unless said the next power of two.

  Raises:
    BadInput: see `frames`; an `fft` shorter than a frame.

  >>> stft(jnp.ones((2, 400)), size=100, hop=50).shape
  (2, 7, 65)

  Source: Povey et al. 2011, "The Kaldi Speech Recognition Toolkit", feature extraction.
  """
  fft = fft or 1 << (size - 1).bit_length()
  if fft < size:
    raise BadInput(f"a transform of {fft} samples does not hold a frame of {size}")
  xp = _of(signal)
  x = frames(signal, size=size, hop=hop)
  if centre:
    x = x - xp.mean(x, axis=-1, keepdims=True)
  x = x - emphasis * xp.concatenate([x[..., :1], x[..., :-1]], axis=-1)
  return xp.fft.rfft(x * np.hanning(size).astype(np.float32), n=fft)


def overlap_add(
  frames: Float[Array, "*b f s"] | Float[np.ndarray, "*b f s"], *, hop: int
) -> Float[Array, "*b n"] | Float[np.ndarray, "*b n"]:
  """Lays frames of s samples down `hop` apart and adds up where they overlap.

  n is `(f - 1) * hop + s`: the transpose of `frames`.

  Raises:
    BadInput: a hop below 1.

  >>> overlap_add(np.ones((3, 2)), hop=1).tolist()
  [1.0, 2.0, 2.0, 1.0]
  """
  if hop < 1:
    raise BadInput(f"frames lie at least 1 apart, got {hop=}")
  xp = _of(frames)
  *batch, number, size = frames.shape
  parts = -(-size // hop)  # of a frame, each as long as a hop
  even = [(0, 0)] * len(batch)
  x = xp.pad(frames, [*even, (0, 0), (0, parts * hop - size)])
  x = x.reshape(*batch, number, parts, hop)
  moved = [xp.pad(x[..., i, :], [*even, (i, parts - 1 - i), (0, 0)]) for i in range(parts)]
  return sum(moved[1:], moved[0]).reshape(*batch, -1)[..., : (number - 1) * hop + size]


def istft(
  transform: Complex[Array, "*b f k"] | Complex[np.ndarray, "*b f k"], *, size: int, hop: int
) -> Float[Array, "*b n"] | Float[np.ndarray, "*b n"]:
  r"""The signal whose `stft`, with `centre=False, emphasis=0`, is nearest to this one.

  $\sum_f w\,x_f / \sum_f w^2$, frames $x_f$ laid down by `overlap_add`; 0 where no window reaches.

  >>> x = np.sin(np.arange(64.0))
  >>> y = istft(stft(x, size=16, hop=4, centre=False, emphasis=0.0), size=16, hop=4)
  >>> bool(np.allclose(x[4:-4], y[4:-4]))
  True

  Source: Griffin and Lim, "Signal Estimation from Modified Short-Time Fourier Transform", 1984.
  """
  xp = _of(transform)
  window = np.hanning(size).astype(np.float32)
  x = xp.fft.irfft(transform, n=2 * (transform.shape[-1] - 1))[..., :size] * window
  weight = overlap_add(np.tile(window**2, (transform.shape[-2], 1)), hop=hop)
  return xp.where(weight > 1e-6, overlap_add(x, hop=hop) / np.maximum(weight, 1e-6), 0)


def mel_filters(
  bins: int, *, rate: int, fft: int, low: float = 20.0, high: float | None = None
) -> Float[np.ndarray, "k {bins}"]:
  r"""Triangles that overlap by half, equally wide in mel, $1127 \ln(1 + f / 700)$ of f in Hz.

  They lie between `low` and `high`, unless said half the rate. `power @ filters` sums the power of
  k = fft // 2 + 1 frequencies in each.

  Raises:
    BadInput: no bins, or frequencies that are not 0 <= low < high <= rate / 2.

  >>> mel_filters(3, rate=800, fft=8, low=0.0).argmax(axis=0).tolist()
  [1, 2, 3]
  """
  high = rate / 2 if high is None else high
  if bins < 1 or not 0 <= low < high <= rate / 2:
    raise BadInput(f"{bins} mel bins between {low:g} and {high:g} Hz at a rate of {rate}")
  mel = lambda f: 1127 * np.log1p(np.asarray(f) / 700)
  edges = np.linspace(mel(low), mel(high), bins + 2)
  at = mel(np.arange(fft // 2 + 1) * rate / fft)[:, None]
  rising = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
  falling = (edges[2:] - at) / (edges[2:] - edges[1:-1])
  return np.maximum(np.minimum(rising, falling), 0).astype(np.float32)


def log_mel(
  signal: Float[Array, "*b n"] | Float[np.ndarray, "*b n"],
  *,
  rate: int,
  bins: int = 128,
  size: float = 0.025,
  hop: float = 0.010,
  low: float = 20.0,
  high: float | None = None,
) -> Float[Array, "*b f {bins}"] | Float[np.ndarray, "*b f {bins}"]:
  r"""The logarithm of the power in each mel band: $\ln \max(|X|^2 M, \epsilon)$.

  A frame of `size` seconds begins every `hop` seconds, both cut to whole samples. This is what
  `torchaudio.compliance.kaldi.fbank` gives with `htk_compat`, a Hann window and no dither; the mean
  of the whole signal is not taken away.

  Raises:
    BadInput: see `frames` and `mel_filters`.

  >>> log_mel(jnp.zeros((2, 16_000)), rate=16_000).shape
  (2, 98, 128)
  """
  transform = stft(signal, size=int(rate * size), hop=int(rate * hop))
  power = transform.real**2 + transform.imag**2
  xp: Any = _of(power)
  product = np.matmul if xp is np else partial(jnp.matmul, precision="highest")
  fft = 2 * (power.shape[-1] - 1)
  filters = mel_filters(bins, rate=rate, fft=fft, low=low, high=high)
  return xp.log(xp.maximum(product(power, filters), EPS))


def _of(x: Any) -> ModuleType:
  """The module that computes with such arrays."""
  return np if isinstance(x, np.ndarray) else jnp
