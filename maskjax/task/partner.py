"""Examples that meet: to each of a batch another one, chosen by position in the global batch."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from maskjax import reduce
from maskjax.task.base import Batch


def partners(batch: Batch, key: Key[Array, ""]) -> Batch:
  """The batch with, as "other", the partners of its examples: a batch of its own.

  One permutation of the whole batch, drawn from `key`, says to each position whose example it
  meets, which may be its own. It is its own too where the one that it would meet is not `valid`.
  Where devices hold parts of the batch, all examples are gathered on each.
  """
  whole = reduce.combine(partial(jax.lax.all_gather, tiled=True), dict(batch))
  row = jnp.argsort(whole["position"])
  own = row[batch["position"]]
  chosen = row[jax.random.permutation(key, row.size)[batch["position"]]]
  if "valid" in whole:
    chosen = jnp.where(whole["valid"][chosen], chosen, own)
  return {**batch, "other": jax.tree.map(lambda x: x[chosen], whole)}
