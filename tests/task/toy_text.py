"""A language of three binary tokens whose conditionals are known, as a network without weights."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from maskjax.record import Record

STATES = np.array(list(itertools.product([0, 1], repeat=3)))
JOINT = np.random.default_rng(0).dirichlet(np.full(8, 0.7))
RECORD = Record("text", (3,), {"train": 64}, vocabulary=("a", "b"))
MASK = 2


def conditionals(ids, sharpness=1.0):
  """log p(x_i = v | visible), times `sharpness`; 2 stands for a hidden token."""
  fits = jnp.all((ids[..., None, :] == STATES) | (ids[..., None, :] == MASK), axis=-1)
  p = jnp.where(fits, jnp.asarray(JOINT, jnp.float32), 0)
  ones = jnp.einsum("...s,si->...i", p, jnp.asarray(STATES, jnp.float32))
  zeros = p.sum(-1, keepdims=True) - ones
  return sharpness * jnp.log(jnp.stack([zeros, ones], axis=-1) + 1e-12)


class Exact(NamedTuple):
  """A network that knows the language; with another `sharpness` its conditionals disagree."""

  sharpness: float = 1.0

  def init(self, key, ids, valid):
    """No parameters but one that is not used."""
    return {"params": {"unused": jax.device_put(np.zeros(1, np.float32))}}

  def apply(self, variables, ids, valid):
    """The logits of every token."""
    return conditionals(ids, self.sharpness) + 0 * variables["params"]["unused"]


def batch(copies):
  """Every state, several times each."""
  tokens = np.repeat(STATES.astype(np.int32), copies, axis=0)
  batch = {"tokens": tokens, "valid": tokens >= 0, "position": np.arange(len(tokens))}
  return jax.device_put(batch)


def keys_of(n):
  """Independent keys."""
  return jax.random.split(jax.random.key(7), n)
