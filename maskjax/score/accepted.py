"""Scores of words that are taken in random order, each accepted with a chance of its own."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from maskjax.score.inherit import inherit


def accepted(
  keys: Key[Array, "*b"], chance: Float[Array, "*b n"], unit: Int[Array, "*#b n"]
) -> Float[Array, "*b n"]:
  """Words in random order, those first that are accepted, each with the chance of its first token.

  Accepted words score in [1, 2), the others in [0, 1): with as many hidden as wanted, others follow
  only where too few were accepted.

  Args:
    keys: typed, one per example.
    chance: of each token, in [0, 1].
    unit: the word of each token, in [0, n), or negative for none.

  Returns:
    Scores, equal within a word; -inf without one.

  Source: the authors' code of Yang, Zhang, Zhao, "Learning Better Masking for Better Language Model
  Pre-training", ACL 2023.

  >>> s = accepted(jax.random.key(0), jnp.array([1.0, 0.0, 0.0]), jnp.array([0, 0, 1]))
  >>> bool(s[0] >= 1), bool(s[0] == s[1]), bool(s[2] < 1)
  (True, True, True)
  """
  n = chance.shape[-1]
  unit = jnp.broadcast_to(unit, chance.shape)
  first = jnp.argmax(unit[..., None, :] == jnp.arange(n)[:, None], axis=-1)
  chances = jnp.take_along_axis(chance, first, axis=-1)

  def draw(key: Key[Array, ""], chances: Float[Array, "n"]) -> Float[Array, "n"]:
    order, coin = jax.random.split(key)
    took = jax.random.uniform(coin, (n,)) < chances
    return took + jax.random.uniform(order, (n,))

  drawn = jax.vmap(draw)(keys.reshape(-1), chances.reshape(-1, n)).reshape(chance.shape)
  return inherit(drawn, unit)
