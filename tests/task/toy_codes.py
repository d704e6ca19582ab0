"""Images that are their own codes, and a network without weights that shows what it is given."""

from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from maskjax.record import Record
from maskjax.reduce import Term

N, CODES = 16, 7
RECORD = Record("image", (8, 8, 3), {"train": 9}, ("a", "b"), mean=(0.5,) * 3, std=(0.25,) * 3)


def tokenizer(record_shape):
  """Reads a code off each patch of 2 x 2 pixels, and paints it."""
  paint = lambda x: x.reshape(-1, 4, 4, 1).repeat(2, 1).repeat(2, 2).repeat(3, 3)
  read = lambda x: x[:, ::2, ::2, 0].reshape(-1, N).astype(jnp.int32)
  apply = lambda variables, x, method: {"encode": read, "decode": paint}[method](x)
  return SimpleNamespace(grid=(4, 4), codes=CODES, apply=apply)


def batch(count=64):
  """Images of random codes, labelled in turn."""
  codes = np.random.default_rng(1).integers(0, CODES, (count, 4, 4, 1))
  image = codes.repeat(2, 1).repeat(2, 2).repeat(3, 3).astype(np.float32)
  position = np.arange(count, dtype=np.int32)
  return jax.device_put({"image": image, "label": position % 2, "position": position})


def noise(count=4):
  """Images for a real tokenizer."""
  image = np.random.default_rng(0).normal(size=(count, *RECORD.shape)).astype(np.float32)
  return {**batch(count), "image": jax.device_put(image)}


class Given(NamedTuple):
  """What a network is given: [b n] each, the code -1 where it is hidden, the label -9 for None."""

  codes: jax.Array
  dropped: jax.Array
  label: jax.Array
  keep: jax.Array
  exact: jax.Array


class Shows(NamedTuple):
  """A network whose logits, and vectors, are what it is given; or else logits of the label."""

  says: str = "all"
  classes: int = 2
  project: int = 1

  def apply(self, variables, tokens, hidden, gone, label, *, keep, exact, method="__call__"):
    """All of it, stacked last in the order of `Given`."""
    rows = lambda x: jnp.broadcast_to(jnp.asarray(x, jnp.int32), tokens.shape)
    label = rows(-9 if label is None else label[:, None])
    if self.says == "label":
      return 50.0 * jax.nn.one_hot(label, CODES)
    seen = jnp.where(hidden, -1, tokens), rows(gone), label, rows(keep), rows(exact)
    seen = jnp.stack(seen, axis=-1)
    vectors = seen * variables["params"]["scale"]
    return (seen, vectors) if method == "both" else seen


def kept(logits, tokens, asked):
  """In place of a loss, all that it would be told."""
  return Term((Given(*jnp.moveaxis(logits, -1, 0)), tokens, asked), jnp.sum(asked))


# What the network that shows things is called with: a weight, by which it multiplies its vectors.
VARIABLES = {"params": {"scale": np.float32(1)}, "frozen": {"tokenizer": {}}}
