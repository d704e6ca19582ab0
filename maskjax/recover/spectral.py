"""Distances of spectra: values are the real parts of all channels, then the imaginary ones."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import reduce
from maskjax.recover.loss import gap


def complex_distance(
  prediction: Float[Array, "*b n d"], target: Float[Array, "*b n d"], asked: Bool[Array, "*b n"]
) -> reduce.Term:
  r"""Distance of complex numbers, amplitude and phase, meaned over a position's channels.

  $\sum_{i\,\mathrm{asked}} \frac1c \sum_j \sqrt{|y_{ij} - t_{ij}|^2 + 10^{-12}}$ with $d = 2c$.

  Args:
    prediction: c real parts, then c imaginary parts.
    target: likewise.
    asked: True where the loss counts.

  Returns:
    The sum over the asked positions, and how many these are.

  Source: Xie et al. 2023 (MFM), equation 4.

  >>> t = complex_distance(jnp.array([[3.0, 4.0]]), jnp.zeros((1, 2)), jnp.array([True]))
  >>> float(t.sum), int(t.count)
  (5.0, 1)
  """
  real, imaginary = jnp.split(gap(prediction, target, asked), 2, axis=-1)
  each = jnp.sqrt(real * real + imaginary * imaginary + 1e-12)
  return reduce.term(jnp.mean(each, axis=-1), asked)
