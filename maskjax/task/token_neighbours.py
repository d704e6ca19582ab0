"""Which token ids are alike by the contexts that they occur in, as tables by token id."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from maskjax.record import Record
from maskjax.task.prepare import Statistic
from maskjax.task.token_statistics import mutual_information, pair_counts


def context_cosines(
  *, record: Record, examples: int, window: int = 11, ids: int = 0, least: int = 1
) -> Statistic:
  r"""How alike the contexts of two token ids are: the cosine of their context vectors, float32.

  A context vector is a row of the positive pointwise mutual information in a window of the training
  text, $M_{uv} = \max(0, \log C_{uv} C / (C_u C_v))$; the table `[ids, ids]` holds
  $M_u \cdot M_v / (|M_u| |M_v|)$, 0 where one of the two has no context.

  Args:
    record: of the data.
    examples: that are counted, the first of the run's order.
    window: see `pair_counts`.
    ids: the table is of the first so many ids; 0: of all.
    least: how often a pair occurs at least to count, see `mutual_information`.

  Source: Levy, Goldberg, Dagan, "Improving Distributional Similarity with Lessons Learned from Word
  Embeddings", TACL 2015, sections 2.1 and 3.
  """
  pairs = pair_counts(record=record, examples=examples, window=window, ids=ids)
  return pairs._replace(end=lambda total: row_cosines(of_context(pairs.end(total), least)))


def of_context(pairs: Float[Array, "u u"], least: int) -> Float[Array, "u u"]:
  """The context vectors of ids that occur together so often, see `context_cosines`."""
  return mutual_information(pairs, least=least, positive=True)


def row_cosines(vectors: Float[Array, "u d"]) -> Float[Array, "u u"]:
  """The cosine of every two rows, 0 with a row of zeros.

  >>> row_cosines(jnp.array([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]])).round(3).tolist()
  [[1.0, 0.800000011920929, 0.0], [0.800000011920929, 1.0, 0.0], [0.0, 0.0, 0.0]]
  """
  length = jnp.sqrt(jnp.sum(vectors**2, axis=-1, keepdims=True))
  unit = vectors / jnp.where(length > 0, length, 1)
  # In full float32 on accelerators too, which are to find the same neighbours.
  return jnp.matmul(unit, unit.T, precision="highest")


def nearest_ids(
  cosines: Float[Array, "u u"], vocabulary: int, *, none: int = -1
) -> Int[Array, "v"]:
  """The most similar other token id of each; ties to the lower id.

  Args:
    cosines: of every two of the first u ids.
    vocabulary: v, the number of ids.
    none: stands where no other is alike at all, and for ids beyond the table.

  >>> cosines = jnp.array([[1.0, 0.2, 0.0], [0.2, 1.0, 0.0], [0.0, 0.0, 0.0]])
  >>> nearest_ids(cosines, 4).tolist()
  [1, 0, -1, -1]
  """
  others = jnp.where(jnp.eye(len(cosines), dtype=bool), -jnp.inf, cosines)
  found = jnp.where(others.max(-1) > 0, jnp.argmax(others, axis=-1), none)
  return jnp.pad(found, (0, vocabulary - len(cosines)), constant_values=none)
