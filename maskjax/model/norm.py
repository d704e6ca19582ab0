"""Layer normalisation whose derivative is written out: fewer passes over its input and slope."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class LayerNorm(nn.Module):
  """`flax.linen.LayerNorm` over the last axis, by name and value of its parameters and by value.

  Source: Ba, Kiros, Hinton, "Layer Normalization", 2016, section 3.
  """

  epsilon: float = 1e-6
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    """Each row less its mean, over its deviation, scaled and moved by learned numbers."""
    scale = self.param("scale", nn.initializers.ones, x.shape[-1:], jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], jnp.float32)
    made = normalised(self.epsilon, x.astype(jnp.float32), scale, bias)
    return made.astype(self.dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def normalised(
  epsilon: float, x: Float[Array, "*b d"], scale: Float[Array, "d"], bias: Float[Array, "d"]
) -> Float[Array, "*b d"]:
  r"""$y = h s + t$ of $h = (x - \mu) r$, $r = 1 / \sqrt{\sigma^2 + \epsilon}$, by rows in float32.

  A bar over an expression being its mean over the row, the tangent is
  $\dot y = r\,(\dot x - \overline{\dot x} - h\,\overline{h \dot x})\,s + h \dot s + \dot t$.

  >>> normalised(0.0, jnp.array([1.0, 3.0]), jnp.ones(2), jnp.zeros(2)).tolist()
  [-1.0, 1.0]
  """
  mean, rate = _moments(epsilon, x)
  return (x - mean) * (rate * scale) + bias


@normalised.defjvp
def _tangent(
  epsilon: float, at: tuple[Array, Array, Array], along: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
  x, scale, bias = at
  mean, rate = _moments(epsilon, x)

  # What is kept for the backward pass is the input, which is kept anyway, and a number a row.
  @functools.partial(jax.checkpoint, prevent_cse=False)
  def tangent(x: Array, mean: Array, rate: Array, scale: Array, *along: Array) -> Array:
    by_x, by_scale, by_bias = along
    flat = (x - mean) * rate
    straight = by_x - _average(by_x) - flat * _average(flat * by_x)
    return rate * straight * scale + flat * by_scale + by_bias

  return (x - mean) * (rate * scale) + bias, tangent(x, mean, rate, scale, *along)


def _moments(epsilon: float, x: Array) -> tuple[Array, Array]:
  """Mean and inverse deviation of each row."""
  mean = _average(x)
  return mean, jax.lax.rsqrt(jnp.maximum(_average(x * x) - mean * mean, 0) + epsilon)


def _average(x: Array) -> Array:
  return jnp.mean(x, axis=-1, keepdims=True)
