"""Spectrograms in pictures: time to the right, low frequencies below, loud is bright."""

import numpy as np
from jaxtyping import Array, Float, Shaped, UInt8

from maskjax.record import Record
from maskjax.view import grid as layout


def turned(
  images: Shaped[Array | np.ndarray, "b h w *c"], record: Record
) -> Shaped[np.ndarray, "b _ _ *c"]:
  """Images as people look at them: spectrograms lie on their side, others stay as they are.

  A record of images with a rate is one of spectrograms, `[b, time, frequency, 1]`.

  >>> record = Record("image", (2, 3, 1), {}, rate=8000)
  >>> turned(np.arange(6).reshape(1, 2, 3), record)[0].tolist()
  [[2, 5], [1, 4], [0, 3]]
  """
  x = np.asarray(images)
  return np.swapaxes(x, 1, 2)[:, ::-1] if record.rate else x


def shown(
  images: Float[Array | np.ndarray, "b h w c"], record: Record, *, scale: int = 1
) -> UInt8[np.ndarray, "b _ _ 3"]:
  """Normalised images of a record, `turned`, as pixels that can be shown; see `grid.denormalise`.

  Of spectrograms the record's `low` is black and its `high` white.
  """
  mean, std = np.asarray(record.mean), np.asarray(record.std)
  if record.rate:
    low, high = np.asarray(record.low), np.asarray(record.high)
    mean, std = (mean - low) / (high - low), std / (high - low)
  return layout.denormalise(turned(images, record), mean.tolist(), std.tolist(), scale=scale)
