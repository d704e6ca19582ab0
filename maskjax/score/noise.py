"""Scores drawn at random, one key per example."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def white(keys: Key[Array, "*b"], grid: tuple[int, ...]) -> Float[Array, "*b n"]:
  """White noise: every position is as likely to be hidden first as any other.

  Independent draws from U[0, 1), n = prod(grid) a key.

  Source: He et al. 2022 (MAE), section 3, "Masking".

  >>> white(jax.random.split(jax.random.key(0), 8), (14, 14)).shape
  (8, 196)
  """
  n = math.prod(grid)
  draw = lambda key: jax.random.uniform(key, (n,), jnp.float32)
  return jax.vmap(draw)(keys.reshape(-1)).reshape(*keys.shape, n)
