"""Noise of a color: white noise through Gaussian filters, visible where it is strongest."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from maskjax.errors import BadInput, unknown

# Deviations of each color's blurs, in positions, the weaker first.
SIGMA: dict[str, tuple[float, ...]] = {
  "white": (),
  "red": (2.0,),
  "blue": (0.55,),
  "green": (0.7, 1.7),
  "purple": (0.5, 1.9),
}
# A field is larger than its grid by so many deviations of the strongest blur of all passes: red
# noise at opposite borders, neighbours on the torus, then correlates by less than 1e-4.
MARGIN = 6


def color_noise(
  keys: Key[Array, "*b"],
  grid: tuple[int, ...],
  *,
  color: str,
  sigma: Sequence[float] | None = None,
  passes: int = 5,
) -> Float[Array, "*b n"]:
  r"""Noise of a color: what stays visible are blobs, scattered positions, or something between.

  Gaussian white noise W, filtered `passes` times by blurs $G_\sigma$, at unit variance, negated:

  | color  | filter                          | passes                          |
  |--------|---------------------------------|---------------------------------|
  | red    | $G_\sigma$                      | low frequencies: one large blob |
  | blue   | $1 - G_\sigma$                  | high ones: scattered evenly     |
  | green  | $G_{\sigma_1} - G_{\sigma_2}$   | a band: many clusters           |
  | purple | $1-G_{\sigma_1}+G_{\sigma_2}$   | all but a band                  |
  | white  | none                            | as `uniform`, with another law    |

  At a frequency of $\nu$ cycles per position a blur leaves $e^{-2 \pi^2 \sigma^2 \|\nu\|^2}$, so
  power is that of the filter to the power of 2 · `passes`. An example draws a field larger than its
  grid, as a torus, and keeps one corner: noise is the same everywhere, at borders too.

  Args:
    keys: one per example.
    grid: positions along each axis; the noise is isotropic over all of them.
    color: of the above.
    sigma: deviations of the blurs in positions, one, or for green and purple the weaker and the
      stronger; None for those that match the published noise.
    passes: how often the filter is applied.

  Raises:
    BadInput: an unknown color, or deviations or passes that make no filter.

  Source: Hinojosa et al. 2024 (ColorMAE), section 3. The public code crops its windows from
  downloaded noise, and keeps the highest values visible.

  >>> color_noise(jax.random.split(jax.random.key(0), 8), (14, 14), color="green").shape
  (8, 196)
  """
  blurs = _blurs(color, sigma, passes)
  margin = math.ceil(MARGIN * math.sqrt(passes) * max(blurs, default=0.0))
  field = tuple(side + margin for side in grid)
  noise = jax.vmap(lambda key: jax.random.normal(key, field, jnp.float32))(keys.reshape(-1))
  noise = noise.reshape(*keys.shape, *field)
  return filtered(noise, grid, color=color, sigma=sigma, passes=passes)


def filtered(
  noise: Float[Array, "..."],
  grid: tuple[int, ...],
  *,
  color: str,
  sigma: Sequence[float] | None = None,
  passes: int = 5,
) -> Float[Array, "... n"]:
  """The scores of noise that is given: `color_noise` with its white noise as an argument.

  The last axes of `noise` are a torus at least as large as the grid, which is its first corner.
  Noise that has its color already is passed as "white": it is only negated.

  Args:
    noise: white, Gaussian, unit variance; the last axes are those of the grid.
    grid: positions along each axis.
    color: see `color_noise`.
    sigma: deviations of the blurs in positions; None: the published ones.
    passes: how often the filter is applied.

  Returns:
    Float32 scores of unit variance, n = prod(grid).

  Raises:
    BadInput: as `color_noise`, or noise that is smaller than the grid.

  >>> filtered(jnp.array([3.0, 1.0, 2.0]), (2,), color="white").tolist()
  [-3.0, -1.0]
  """
  field = noise.shape[noise.ndim - len(grid) :]
  if len(field) < len(grid) or any(f < g for f, g in zip(field, grid, strict=True)):
    raise BadInput(f"noise of shape {noise.shape} does not cover the grid {grid}")
  noise = noise.astype(jnp.float32)
  if blurs := _blurs(color, sigma, passes):
    response = _response(field, color, blurs) ** passes
    # A frequency's share of the variance is one of n; a field of one position has none but 0.
    response /= math.sqrt(np.mean(response**2)) or 1.0
    waves = [_hartley(side) for side in field]
    noise = _along(noise, waves) * response.astype(np.float32)
    noise = _along(noise, [wave[:side] for wave, side in zip(waves, grid, strict=True)])
  corner = noise[(..., *(slice(side) for side in grid))]
  return -corner.reshape(*noise.shape[: noise.ndim - len(grid)], -1)


def _blurs(color: str, sigma: Sequence[float] | None, passes: int) -> tuple[float, ...]:
  """The deviations of a color, checked."""
  if color not in SIGMA:
    raise unknown("color of noise", color, SIGMA)
  blurs = SIGMA[color] if sigma is None else tuple(sigma)
  rising = all(a < b for a, b in zip((0.0, *blurs), blurs, strict=False))
  if len(blurs) != len(SIGMA[color]) or not rising:
    raise BadInput(f"{color} noise takes {len(SIGMA[color])} rising sigmas above 0, got {blurs}")
  if passes < 1:
    raise BadInput(f"noise is filtered at least once, got passes={passes}")
  return blurs


def _response(field: tuple[int, ...], color: str, blurs: tuple[float, ...]) -> np.ndarray:
  """What one pass leaves of every frequency of a torus."""
  frequencies = np.meshgrid(*map(np.fft.fftfreq, field), indexing="ij")
  squared = np.sum(np.square(frequencies), axis=0)
  left = [np.exp(-2 * (np.pi * sigma) ** 2 * squared) for sigma in blurs]
  if color == "red":
    return left[0]
  if color == "blue":
    return 1 - left[0]
  band = left[0] - left[1]
  return band if color == "green" else 1 - band


def _hartley(side: int) -> np.ndarray:
  """The discrete Hartley transform: real, orthonormal, its own inverse.

  Filters that are even along every axis multiply its frequencies as they do Fourier's. As a product
  of matrices it stays on its device where a batch is cut; XLA gathers what it transforms by FFT.
  """
  angle = 2 * np.pi / side * (np.outer(np.arange(side), np.arange(side)) % side)
  return ((np.cos(angle) + np.sin(angle)) / math.sqrt(side)).astype(np.float32)


def _along(x: Array, matrices: Sequence[np.ndarray]) -> Array:
  """Multiplies each of the last axes by its matrix."""
  for axis, matrix in enumerate(matrices, x.ndim - len(matrices)):
    x = jnp.moveaxis(jnp.tensordot(x, matrix, (axis, 1), precision="highest"), -1, axis)
  return x
