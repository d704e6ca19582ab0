"""A score, a schedule, a hider, a loss and a network of a package beside maskjax."""

import flax.linen as nn
import jax.numpy as jnp

from maskjax import reduce
from maskjax.pace import Schedule


def height(values):
  """Hides the highest points first."""
  return values[..., 2]


def jump(*, low: float, high: float) -> Schedule:
  """`low` in the first quarter of a run, then `high`."""
  return lambda u: jnp.where(u < 0.25, low, high)


def mirrored(x, hidden):
  """Degrades: hidden points are seen on the other side of the middle."""
  return jnp.where(hidden[..., None], -x, x)


def cubed(prediction, target, asked):
  """The cube of how far off each coordinate is."""
  return reduce.term((jnp.abs(prediction - target) ** 3).mean(axis=-1), asked)


def pooled(x):
  """Features of a cloud."""
  return {"max": x.max(axis=-2)}


class Same(nn.Module):
  """One linear layer, which begins as the identity."""

  width: int

  @nn.compact
  def __call__(self, x):
    """The points themselves."""
    begin = lambda key, shape, dtype: jnp.eye(*shape, dtype=dtype)
    return nn.Dense(self.width, kernel_init=begin)(x)


def same(record_shape):
  """The network of `Same`."""
  return Same(record_shape[-1])
