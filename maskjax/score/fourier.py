"""Noise that is drawn in Fourier space: smooth over a grid of one, two or three axes."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from maskjax.errors import BadInput


def fourier_noise(
  keys: Key[Array, "*b"], grid: tuple[int, ...], *, decay: float = 3.0
) -> Float[Array, "*b n"]:
  r"""Low-frequency noise, the top of which is a few connected regions of any shape.

  $s = \mathrm{Re}\,\mathcal{F}^{-1}\big(z / \max(f, 1 / \max_a g_a)^\delta\big)$ on a grid of sides
  $g$, with f the frequency in cycles a position and $\mathrm{Re}\,z, \mathrm{Im}\,z$ independent
  standard normal draws. A `decay` δ of 0 is white noise; the larger, the smoother. Opposite ends of
  an axis are neighbours.

  Args:
    keys: typed, one per example.
    grid: positions along one, two or three axes, n in all.
    decay: exponent of the amplitude's fall with frequency, at least 0.

  Returns:
    Scores around 0, on no fixed scale: only their order says something.

  Raises:
    BadInput: a grid of no axes or of more than three, a decay below 0.

  Source: Harris et al. 2020 (FMix), section 4.

  >>> fourier_noise(jax.random.split(jax.random.key(0), 8), (4, 14, 14)).shape
  (8, 784)
  """
  draw = lambda key: jax.random.normal(key, (2, *grid), jnp.float32)
  noise = jax.vmap(draw)(keys.reshape(-1))
  return filtered(noise, decay=decay).reshape(*keys.shape, -1)


def filtered(noise: Float[Array, "b 2 *grid"], *, decay: float) -> Float[Array, "b *grid"]:
  """What `fourier_noise` makes of its draws, the real and the imaginary parts of a spectrum."""
  grid = noise.shape[2:]
  if not 1 <= len(grid) <= 3:
    raise BadInput(f"Fourier noise takes grids of one to three axes, got {grid}")
  if not decay >= 0:
    raise BadInput(f"the decay of Fourier noise must not be negative, got {decay}")
  if 0 in grid:
    return noise[:, 0]
  squares = (np.square(np.fft.fftfreq(side)) for side in grid)
  frequency = np.sqrt(sum(np.meshgrid(*squares, indexing="ij")))
  scale = np.maximum(frequency, 1 / max(grid)) ** -decay
  # Before it is transformed: at large decays the sums would otherwise drown what is slow to fade.
  spectrum = jax.lax.complex(noise[:, 0], noise[:, 1]) * (scale / scale.max()).astype(np.float32)
  return jnp.fft.ifftn(spectrum, axes=tuple(range(1, noise.ndim - 1))).real
