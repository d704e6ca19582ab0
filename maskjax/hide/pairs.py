"""Hiding keys from queries: masks of pairs as predicates, so that no mask of all pairs is kept."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from maskjax.errors import BadInput


class Pair(NamedTuple):
  """Queries and keys that meet, broadcast against each other: `[*b q 1]` and `[*b 1 k]`.

  Attributes:
    query, key: positions in the sequence.
    query_segment, key_segment: which document or block each belongs to; None where there are none.
  """

  query: Int[Array, "*#b q 1"]
  key: Int[Array, "*#b 1 k"]
  query_segment: Int[Array, "*#b q 1"] | None = None
  key_segment: Int[Array, "*#b 1 k"] | None = None


# True = the key is hidden from the query; `[q k]` serves all examples.
Predicate = Callable[[Pair], Bool[Array, "*b q k"]]


def causal() -> Predicate:
  """Removes the keys that come after the query.

  >>> dense(causal(), 2).tolist()
  [[False, True], [False, False]]
  """
  return lambda pair: pair.key > pair.query


def window(radius: int) -> Predicate:
  """Removes the keys more than `radius` positions away from the query.

  Raises:
    BadInput: a negative radius.

  >>> dense(window(1), 3)[0].tolist()
  [False, False, True]
  """
  if radius < 0:
    raise BadInput(f"the radius of a window must not be negative, got {radius}")
  return lambda pair: jnp.abs(pair.key - pair.query) > radius


def prefix(length: int | Int[Array, "*b"]) -> Predicate:
  """Removes the keys after the query, but for the first `length`, which all queries see.

  `length` is an int or one per example.

  Source: Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
  Transformer", 2020, section 3.2.1, "prefix LM".

  >>> dense(prefix(2), 3)[0].tolist()
  [False, False, True]
  """
  bound = jnp.asarray(length)[..., None, None]
  return lambda pair: (pair.key > pair.query) & (pair.key >= bound)


def segments() -> Predicate:
  """Removes the keys of other segments than the query's: packed documents do not meet.

  Raises:
    BadInput: there are no segments, when called.

  >>> dense(segments(), 3, jnp.array([0, 0, 1]))[0].tolist()
  [False, False, True]
  """
  return lambda pair: jnp.not_equal(*_segments(pair, "segments"))


def blocks() -> Predicate:
  """Removes later keys of other segments than the query's: both ways within one, causal between.

  Segments are told apart, not ordered, by their numbers: what is later goes by position.

  Raises:
    BadInput: there are no segments, when called.

  >>> dense(blocks(), 3, jnp.array([1, 1, 0])).tolist()
  [[False, False, True], [False, False, True], [False, False, False]]
  """
  return lambda pair: (pair.key > pair.query) & jnp.not_equal(*_segments(pair, "blocks"))


def within(unit: Sequence[int] | Int[np.ndarray, "n"]) -> Predicate:
  """Removes the keys of other units than the query's, known before tracing: windows of a grid.

  `unit` is that of every position of the sequence, see `maskjax.units`.

  Source: Liu et al., "Swin Transformer", 2021, section 3.2, whose windows are `units.blocks` of a
  grid, every other time with a shift.

  >>> dense(within([0, 1, 1]), 3).tolist()
  [[False, True, True], [True, False, False], [True, False, False]]
  """
  own = np.asarray(unit)
  return lambda pair: jnp.asarray(own)[pair.query] != jnp.asarray(own)[pair.key]


def either(*predicates: Predicate) -> Predicate:
  """Removes what any of the predicates removes.

  >>> dense(either(causal(), window(0)), 2).tolist()
  [[False, True], [True, False]]
  """
  return _joined(jnp.logical_or, predicates)


def both(*predicates: Predicate) -> Predicate:
  """Removes what all of the predicates remove.

  >>> dense(both(causal(), window(1)), 3)[0].tolist()
  [False, False, True]
  """
  return _joined(jnp.logical_and, predicates)


def dense(
  predicate: Predicate, n: int, segments: Int[Array, "*b n"] | None = None
) -> Bool[Array, "*c n n"]:
  """The whole mask of a sequence with itself, `[…, query, key]`: for tests and pictures alone.

  Shapes: the leading axes are those of the segments, or of what the predicate was made with.
  """
  at = jnp.arange(n)
  if segments is None:
    return predicate(Pair(at[:, None], at[None, :]))
  pair = Pair(at[:, None], at[None, :], segments[..., :, None], segments[..., None, :])
  hidden = predicate(pair)
  return jnp.broadcast_to(hidden, jnp.broadcast_shapes(hidden.shape, (*segments.shape, n)))


def _joined(join: Callable, predicates: tuple[Predicate, ...]) -> Predicate:
  if not predicates:
    raise BadInput("there is no predicate to join: give at least one")

  def joined(pair: Pair) -> Array:
    hidden = predicates[0](pair)
    for predicate in predicates[1:]:
      hidden = join(hidden, predicate(pair))
    return hidden

  return joined


def _segments(pair: Pair, name: str) -> tuple[Array, Array]:
  if pair.query_segment is None or pair.key_segment is None:
    raise BadInput(f"{name}() needs the segment of every position; none are given")
  return pair.query_segment, pair.key_segment
