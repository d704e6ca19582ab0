"""Layer normalisation whose derivative is written out: fewer passes over its input and slope."""

import functools
from typing import Any

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


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def normalised(
  epsilon: float, x: Float[Array, "*b d"], scale: Float[Array, "d"], bias: Float[Array, "d"]
) -> Float[Array, "*b d"]:
  r"""$y = h s + t$ of $h = (x - \mu) r$, $r = 1 / \sqrt{\sigma^2 + \epsilon}$, by rows in float32.

  With $g = \bar y s$ the slope is $\bar x = r\,(g - \overline{g} - h\,\overline{g h})$, where a bar
  over an expression is its mean over the row.

  >>> normalised(0.0, jnp.array([1.0, 3.0]), jnp.ones(2), jnp.zeros(2)).tolist()
  [-1.0, 1.0]
  """
  return _forward(epsilon, x, scale, bias)[0]


def _forward(epsilon: float, x: Array, scale: Array, bias: Array) -> tuple[Array, Any]:
  mean = jnp.mean(x, axis=-1, keepdims=True)
  variance = jnp.maximum(jnp.mean(x * x, axis=-1, keepdims=True) - mean * mean, 0)
  rate = jax.lax.rsqrt(variance + epsilon)
  return (x - mean) * (rate * scale) + bias, (x, mean, rate, scale)


def _backward(epsilon: float, kept: Any, slope: Array) -> tuple[Array, Array, Array]:
  x, mean, rate, scale = kept
  flat, inner = (x - mean) * rate, slope * scale
  average = functools.partial(jnp.mean, axis=-1, keepdims=True)
  by_x = rate * (inner - average(inner) - flat * average(inner * flat))
  rows = tuple(range(x.ndim - 1))
  return by_x, jnp.sum(slope * flat, rows), jnp.sum(slope, rows)


normalised.defvjp(_forward, _backward)
