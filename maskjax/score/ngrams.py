"""Scores of n-grams: words that follow each other and are hidden together."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from maskjax.errors import BadInput
from maskjax.score.inherit import inherit


def ngrams(
  keys: Key[Array, "*b"],
  unit: Int[Array, "*#b n"] | Int[np.ndarray, "*#b n"],
  *,
  shares: Sequence[float] = (0.4, 0.3, 0.2, 0.1),
) -> Float[Array, "*b n"]:
  r"""Uniform noise of n-grams of words, which their positions inherit.

  The words of a sequence are cut, from the first one on, into n-grams of lengths that are drawn
  each by itself, $P(\ell) = s_\ell$; the last is cut by the end. An n-gram is as likely to be
  hidden first as any other, so those that are hidden have these shares too.

  Args:
    keys: typed, one per example.
    unit: the word of each position, in [0, n), in their order, or negative for none.
    shares: $s_1, s_2, …$, probabilities of one word, of two, and so on, of sum 1.

  Returns:
    Scores in [0, 1), equal within an n-gram; -inf without a word.

  Raises:
    BadInput: shares that are no probabilities.

  Source: Cui et al. 2020, "Revisiting Pre-Trained Models for Chinese Natural Language Processing",
  section 3, for the shares.

  >>> s = ngrams(jax.random.key(0), jnp.array([0, 0, 1, 2, 3, -1]), shares=(0.0, 1.0))
  >>> bool((s[0] == s[2]) & (s[2] != s[3]) & (s[3] == s[4])), float(s[5])
  (True, -inf)
  """
  if not shares or min(shares) < 0 or not math.isclose(sum(shares), 1):
    raise BadInput(f"shares are probabilities of sum 1, got {tuple(shares)}")
  n, steps = unit.shape[-1], jnp.cumsum(jnp.array(shares))[:-1]

  def draw(key: Key[Array, ""], unit: Int[Array, "n"]) -> Float[Array, "n"]:
    length, score = jax.random.split(key)
    lengths = 1 + jnp.searchsorted(steps, jax.random.uniform(length, (n,)), side="right")
    gram = jnp.searchsorted(jnp.cumsum(lengths), unit, side="right")
    return inherit(jax.random.uniform(score, (n,)), jnp.where(unit < 0, -1, gram))

  unit = jnp.broadcast_to(jnp.asarray(unit), (*keys.shape, n))
  drawn = jax.vmap(draw)(keys.reshape(-1), unit.reshape(-1, n))
  return drawn.reshape(unit.shape)
