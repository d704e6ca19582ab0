"""Classes of token ids by the contexts that they occur in, as a table by token id."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from maskjax.record import Record
from maskjax.task.prepare import Statistic
from maskjax.task.token_neighbours import of_context
from maskjax.task.token_statistics import pair_counts


def context_classes(
  *,
  record: Record,
  examples: int,
  classes: int = 17,
  window: int = 3,
  ids: int = 0,
  least: int = 1,
  rounds: int = 20,
) -> Statistic:
  """Token ids in classes of alike contexts, as parts of speech are, int32 `[v]`.

  Spherical k-means on context vectors of length 1, see `context_cosines`, from those of the most
  frequent ids as first centres; ids without a context, or beyond the table, are of the last class.

  Args:
    record: of the data.
    examples: that are counted, the first of the run's order.
    classes: how many.
    window: see `pair_counts`; 3 are direct neighbours.
    ids: that are put into classes, the first so many; 0: all.
    least: how often a pair occurs at least to count.
    rounds: of k-means.

  Source: Dhillon and Modha, "Concept Decompositions for Large Sparse Text Data Using Clustering",
  2001, section 3, for the k-means.
  """
  pairs = pair_counts(record=record, examples=examples, window=window, ids=ids)

  def end(total: Array) -> Int[Array, "v"]:
    counts = pairs.end(total)
    found = spherical_k_means(of_context(counts, least), counts.sum(-1), classes, rounds)
    rest = len(record.vocabulary) - len(found)
    return jnp.pad(found, (0, rest), constant_values=classes - 1)

  return pairs._replace(end=end)


def spherical_k_means(
  vectors: Float[Array, "u d"], often: Float[Array, "u"], classes: int, rounds: int
) -> Int[Array, "u"]:
  """The class of each row by its direction; rows of zeros are of the last class.

  >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.1], [0.0, 0.0], [0.1, 3.0]])
  >>> spherical_k_means(x, jnp.array([9.0, 8.0, 1.0, 1.0, 1.0]), 2, 3).tolist()
  [0, 1, 0, 1, 1]
  """
  unit = _directions(vectors)

  def nearest(centres: Float[Array, "c d"]) -> Int[Array, "u"]:
    best = jnp.argmax(jnp.matmul(unit, centres.T, precision="highest"), axis=-1)
    return jnp.where(unit.any(-1), best, classes - 1)

  def again(_: int, centres: Float[Array, "c d"]) -> Float[Array, "c d"]:
    sums = jnp.zeros_like(centres).at[nearest(centres)].add(unit)
    return jnp.where(sums.any(-1, keepdims=True), _directions(sums), centres)

  first = unit[jax.lax.top_k(often, classes)[1]]
  return nearest(jax.lax.fori_loop(0, rounds, again, first)).astype(jnp.int32)


def _directions(x: Float[Array, "u d"]) -> Float[Array, "u d"]:
  length = jnp.sqrt(jnp.sum(x**2, axis=-1, keepdims=True))
  return x / jnp.where(length > 0, length, 1)
