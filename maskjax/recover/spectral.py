"""Distances of spectra: values are the real parts of all channels, then the imaginary ones."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import masks, reduce


def complex_distance(
  prediction: Float[Array, "*b n d"], target: Float[Array, "*b n d"], asked: Bool[Array, "*b n"]
) -> reduce.Term:
  r"""Distance of complex numbers, amplitude and phase, meaned over a position's channels.

  $\sum_{i\,\mathrm{asked}} \frac1c \sum_j \sqrt{|y_{ij} - t_{ij}|^2 + 10^{-12}}$ with $d = 2c$.

  Source: Xie et al. 2023 (MFM), equation 4.

  >>> t = complex_distance(jnp.array([[3.0, 4.0]]), jnp.zeros((1, 2)), jnp.array([True]))
  >>> float(t.sum), int(t.count)
  (5.0, 1)
  """
  masks.check(asked=asked)
  gap = prediction.astype(jnp.float32) - target.astype(jnp.float32)
  # Cut here, not only in the sum: 0 · NaN is NaN.
  real, imaginary = jnp.split(jnp.where(asked[..., None], gap, 0), 2, axis=-1)
  each = jnp.sqrt(real * real + imaginary * imaginary + 1e-12)
  return reduce.term(jnp.mean(each, axis=-1), asked)
