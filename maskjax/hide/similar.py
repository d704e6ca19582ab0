"""Hiding words of a text behind others that are like them."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from maskjax import masks
from maskjax.hide.token import fates


def similar(
  ids: Int[Array, "*b n"],
  hidden: Bool[Array, "*b n"],
  keys: Key[Array, "*b"],
  unit: Int[Array, "*#b n"],
  nearest: Int[Array, "v"],
  *,
  vocabulary: int,
  shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
) -> Int[Array, "*b n"]:
  """Degrades: of the hidden words some become similar ones, some random ones, some stay.

  `shares` are the probabilities of these three, each word on its own. A similar word has the
  nearest id in the place of each of its own; where there is none, a random one. No mask token is
  ever seen. All of `hidden` is asked, also what was left to see. One key per example.

  Args:
    ids: of n tokens, in [0, vocabulary).
    hidden: True where hidden.
    keys: typed, one per example.
    unit: the word of each token, in [0, n), or negative for none.
    nearest: of each id the most similar other one, -1 for none.
    vocabulary: number of ids that a random token is drawn from.
    shares: probabilities of similar, random and same, of sum 1.

  Returns:
    `ids`, some of the hidden ones replaced.

  Raises:
    BadInput: no vocabulary, or shares that are no probabilities.
    TypeError: `hidden` is not bool.

  Source: Cui et al. 2020, "Revisiting Pre-Trained Models for Chinese Natural Language Processing",
  section 3.

  >>> import jax
  >>> ids, hidden = jnp.array([0, 1, 2]), jnp.array([False, True, True])
  >>> like = dict(vocabulary=3, shares=(1.0, 0.0, 0.0))
  >>> similar(ids, hidden, jax.random.key(0), jnp.arange(3), jnp.array([1, 2, 0]), **like).tolist()
  [0, 2, 0]
  """
  masks.check(hidden=hidden)
  fate, other = fates(ids, keys, vocabulary, shares)
  word = jnp.broadcast_to(jnp.maximum(unit, 0), ids.shape)
  fate = jnp.take_along_axis(fate, word, axis=-1)  # one for all tokens of a word
  near = jnp.take(nearest, ids).astype(ids.dtype)
  like = jnp.where(near < 0, other, near)
  changed = jnp.where(fate < shares[0], like, other)
  return jnp.where(hidden & (fate < shares[0] + shares[1]), changed, ids)
