"""Text at toy sizes: the text methods' configs, and a language whose conditionals are known.

The language is of three binary tokens; a network knows it without having learned.
"""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from built import FILES

from maskjax import lab
from maskjax.record import Record
from maskjax.train.run import plain
from maskjax.train.setup.build import make_task

STATES = np.array(list(itertools.product([0, 1], repeat=3)))
JOINT = np.random.default_rng(0).dirichlet(np.full(8, 0.7))
RECORD = Record("text", (3,), {"train": 64}, vocabulary=("a", "b"))
MASK = 2


def task_of(name, record, model, **fields):
  """The task of a text method's `laptop` with other networks, on data of a record.

  Args:
    name: of the config.
    record: of the data.
    model: what changes in its section of the network.
    **fields: what else changes, by dotted names written with "__".
  """
  config = lab.read(f"{FILES[name]}:laptop")
  with config.ignore_type():
    config.model = {**config.model, **model} if "fn" not in model else model
    for field, value in fields.items():
      *path, last = field.split("__")
      owner = config
      for part in path:
        owner = owner[part]
      owner[last] = value
  return make_task(plain(config), record)


def conditionals(ids, sharpness=1.0):
  """log p(x_i = v | visible), times `sharpness`; 2 stands for a hidden token."""
  fits = jnp.all((ids[..., None, :] == STATES) | (ids[..., None, :] == MASK), axis=-1)
  p = jnp.where(fits, jnp.asarray(JOINT, jnp.float32), 0)
  ones = jnp.einsum("...s,si->...i", p, jnp.asarray(STATES, jnp.float32))
  zeros = p.sum(-1, keepdims=True) - ones
  return sharpness * jnp.log(jnp.stack([zeros, ones], axis=-1) + 1e-12)


class Exact(nn.Module):
  """A network that knows the language; with another `sharpness` its conditionals disagree."""

  @nn.compact
  def __call__(self, ids, valid=None, segments=None, *, features=False):
    """The logits of every token."""
    return conditionals(ids, self.param("sharpness", nn.initializers.ones, ()))


def exact():
  """The network `Exact`."""
  return Exact()


def variables(sharpness):
  """Those of `Exact`."""
  return {"params": {"sharpness": jnp.float32(sharpness)}}


class Reads(nn.Module):
  """A network whose logits are the ids that it is shown, one-hot; the mask is the last of them."""

  codes: int

  @nn.compact
  def __call__(self, ids, valid=None, segments=None, *, features=False):
    """The ids, from the first to the mask."""
    unused = self.param("unused", nn.initializers.zeros, (1,))
    return jax.nn.one_hot(ids, self.codes + 1) + 0 * unused


def reads(*, vocabulary):
  """The network `Reads`."""
  return Reads(vocabulary)


def batch(copies):
  """Every state, several times each."""
  tokens = np.repeat(STATES.astype(np.int32), copies, axis=0)
  batch = {"tokens": tokens, "valid": tokens >= 0, "position": np.arange(len(tokens))}
  return jax.device_put(batch)


def keys_of(n):
  """Independent keys."""
  return jax.random.split(jax.random.key(7), n)
