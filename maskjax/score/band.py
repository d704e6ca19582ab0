"""The low or the high frequencies of a spectrum, by a coin."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key


def band(
  keys: Key[Array, "*b"], grid: tuple[int, ...], *, radius: float, low: float = 0.5
) -> Float[Array, "*b n"]:
  r"""Scores above 0 in the band to be hidden: all frequencies below a radius, or all others.

  $s_k = c\,(\rho_k - R)$ with $\rho_k$ the distance from the zero frequency, at the grid's centre,
  and $c = -1$ with the probability of `low`, else 1. The radius itself is in the high band.

  Args:
    keys: one per example.
    grid: frequencies along each axis, those of `over.frequencies`.
    radius: R, in cycles a pixel.
    low: probability that the low band is the hidden one.

  Source: Xie et al. 2023 (MFM), section 3.2.

  >>> scores = band(jax.random.key(0), (1, 5), radius=0.2, low=1.0)
  >>> (scores > 0).astype(int).tolist()
  [0, 0, 1, 0, 0]
  """
  squares = (np.square((np.arange(n) - n // 2) / n) for n in grid)
  beyond = np.sqrt(sum(np.meshgrid(*squares, indexing="ij"))).ravel() - radius
  # The least number: a frequency on the radius is hidden with the high band, not with the low one.
  beyond = np.where(beyond >= 0, np.maximum(beyond, 1e-9), beyond).astype(np.float32)
  coin = jax.vmap(jax.random.uniform)(keys.reshape(-1)).reshape(keys.shape) < low
  return jnp.where(coin[..., None], -beyond, beyond)
