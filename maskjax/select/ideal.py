"""Ideal masks: gates and masks for parts of a sum, from the parts themselves, which know best."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num


def ideal_ratio(parts: Num[Array, "*b k n"], *, power: float = 1.0) -> Float[Array, "*b k n"]:
  r"""Gates that share out every position among k parts by their magnitude there, in float32.

  $g_i = |S_i|^p / \sum_j |S_j|^p$ of real or complex parts: the ideal ratio mask, and with
  `power=2` the one like Wiener's filter. Where all parts are 0, each has an equal share. It is
  `shares` of the scores $-\ln |S|$ at temperature 1 / p.

  >>> ideal_ratio(jnp.array([[3., 0.], [-1., 0.]])).tolist()
  [[0.75, 0.5], [0.25, 0.5]]

  Source: Luo and Mesgarani 2019 (Conv-TasNet), section III.D.
  """
  level = jnp.abs(parts).astype(jnp.float32)
  # Relative to the loudest, so that no power is too small or too large to be told.
  loudest = jnp.max(level, axis=-2, keepdims=True)
  weight = jnp.where(loudest > 0, level / jnp.where(loudest > 0, loudest, 1), 1) ** power
  return weight / jnp.sum(weight, axis=-2, keepdims=True)


def ideal_binary(parts: Num[Array, "*b k n"]) -> Bool[Array, "*b k n"]:
  """Hides every position from all parts but the one whose magnitude is the largest there.

  Of equals the first one keeps it, also where all are 0: each position is kept by exactly one.

  >>> ideal_binary(jnp.array([[3., 0.], [-1., 2.]])).tolist()
  [[False, True], [True, False]]

  Source: Luo and Mesgarani 2019 (Conv-TasNet), section III.D.
  """
  level = jnp.abs(parts)
  return jnp.arange(level.shape[-2])[:, None] != jnp.argmax(level, axis=-2)[..., None, :]
