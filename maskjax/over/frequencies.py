"""Positions that are frequencies: the spectrum of an image, signal or clip over its space."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array

from maskjax.over.base import Batch, Over, Positions, field_of
from maskjax.record import Record


def frequencies(*, record: Record, field: str = "", shape: Sequence[int] | None = None) -> Over:
  r"""The orthonormal spectrum of each channel, the zero frequency at the centre of the grid.

  $X_k = N^{-1/2} \sum_n x_n e^{-2 \pi i k n / N}$ along each axis of space. A position has 2 c
  values: the real parts of c channels, then the imaginary ones.

  Args:
    record: of the data.
    field: of the batch; that of the kind of data unless said.
    shape: of the field, `(*space, channels)`; the record's unless said.

  Returns:
    Positions over the whole grid, conjugate pairs apart: who hides one of a pair and not the other
    gets, by `back`, the real part of what is left.

  >>> over = frequencies(record=Record("image", (4, 4, 1), {}))
  >>> x = jnp.arange(16.0).reshape(1, 4, 4, 1)
  >>> bool(jnp.allclose(over.back(over.read({"image": x}).values), x, atol=1e-4))
  True
  """
  whole = tuple(record.shape if shape is None else shape)
  space, channels = whole[:-1], whole[-1]
  axes = tuple(range(-len(space) - 1, -1))

  def read(batch: Batch) -> Positions:
    x = field_of(record, field, batch).astype(jnp.float32)
    spectrum = jnp.fft.fftshift(jnp.fft.fftn(x, axes=axes, norm="ortho"), axes=axes)
    both = jnp.concatenate([spectrum.real, spectrum.imag], axis=-1)
    return Positions(both.reshape(*both.shape[: both.ndim - len(whole)], -1, 2 * channels))

  def back(values: Array) -> Array:
    both = values.reshape(*values.shape[:-2], *space, 2 * channels)
    spectrum = both[..., :channels] + 1j * both[..., channels:]
    return jnp.fft.ifftn(jnp.fft.ifftshift(spectrum, axes=axes), axes=axes, norm="ortho").real

  return Over(space, 2 * channels, read, back, {}, (1,) * len(space), whole)
