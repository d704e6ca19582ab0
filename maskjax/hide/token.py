"""Hiding tokens of a vocabulary: another id stands in their place."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from maskjax import masks
from maskjax.errors import BadInput


def token(
  ids: Int[Array, "*b n"],
  hidden: Bool[Array, "*b n"],
  mask_id: int | Int[Array, ""] | Int[Array, "*b n"],
) -> Int[Array, "*b n"]:
  """Removes: puts `mask_id` where `hidden` is True.

  Args:
    ids: of n tokens.
    hidden: True where hidden.
    mask_id: of the mask token, or an id for each place; of what is hidden these may tell.

  Returns:
    `ids`, with what is hidden replaced.

  Raises:
    TypeError: `hidden` is not bool.

  >>> token(jnp.array([5, 6]), jnp.array([False, True]), mask_id=0).tolist()
  [5, 0]
  """
  masks.check(hidden=hidden)
  return jnp.where(hidden, jnp.asarray(mask_id, ids.dtype), ids)


def drop_label(
  label: Int[Array, "*b"], keys: Key[Array, "*b"], *, ratio: float = 0.1
) -> Int[Array, "*b"]:
  r"""Removes: -1, no label, with probability `ratio`, in place of an example's label.

  Each example on its own, by its own key; a network that is told labels so learns to do without.

  Args:
    label: the class of each example.
    keys: typed, one per example.
    ratio: probability in [0, 1] that a label is dropped.

  Returns:
    The label, or -1.

  Source: Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022, section 3.2.

  >>> drop_label(jnp.array(3), jax.random.key(0), ratio=1.0).item()
  -1
  """
  told = jax.vmap(jax.random.uniform)(keys.reshape(-1)).reshape(label.shape) >= ratio
  return jnp.where(told, label, -1)


def corrupt(
  ids: Int[Array, "*b n"],
  hidden: Bool[Array, "*b n"],
  keys: Key[Array, "*b"],
  *,
  vocabulary: int,
  mask_id: int,
  shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
) -> Int[Array, "*b n"]:
  """Degrades: of the hidden tokens some are masked, some replaced at random, some stay.

  `shares` are the probabilities of these three, each token on its own; a random id is any of the
  `vocabulary`, the true one included. All of `hidden` is asked, also what was left to see. One key
  per example.

  Args:
    ids: of n tokens, in [0, vocabulary).
    hidden: True where hidden.
    keys: typed, one per example.
    vocabulary: number of ids that a random token is drawn from.
    mask_id: of the mask token.
    shares: probabilities of masked, random and same, of sum 1.

  Returns:
    `ids`, some of the hidden ones replaced.

  Raises:
    BadInput: no vocabulary, or shares that are no probabilities.
    TypeError: `hidden` is not bool.

  >>> ids, hidden = jnp.arange(1, 5), jnp.array([False, True, True, False])
  >>> mask = dict(vocabulary=5, mask_id=0, shares=(1.0, 0.0, 0.0))
  >>> corrupt(ids, hidden, jax.random.key(0), **mask).tolist()
  [1, 0, 0, 4]

  Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
  Understanding", 2019, section 3.1.
  """
  masks.check(hidden=hidden)
  masked, replaced, _ = shares
  fate, other = fates(ids, keys, vocabulary, shares)
  changed = jnp.where(fate < masked, jnp.asarray(mask_id, ids.dtype), other)
  return jnp.where(hidden & (fate < masked + replaced), changed, ids)


def fates(
  ids: Int[Array, "*b n"], keys: Key[Array, "*b"], vocabulary: int, shares: Sequence[float]
) -> tuple[Float[Array, "*b n"], Int[Array, "*b n"]]:
  """A uniform number for each token, and a random id for its place.

  Raises:
    BadInput: no vocabulary, or shares that are not three probabilities of sum 1.
  """
  if vocabulary < 1:
    raise BadInput(f"a vocabulary has at least one token, got {vocabulary}")
  if len(shares) != 3 or min(shares) < 0 or not math.isclose(sum(shares), 1):
    raise BadInput(f"shares are three probabilities (mask, random, same) of sum 1, got {shares}")
  n = ids.shape[-1]

  def draw(key):  # type: ignore[no-untyped-def]
    fate, other = jax.random.split(key)
    return jax.random.uniform(fate, (n,)), jax.random.randint(other, (n,), 0, vocabulary)

  fate, other = jax.vmap(draw)(keys.reshape(-1))
  return fate.reshape(ids.shape), other.reshape(ids.shape).astype(ids.dtype)
