"""Masks of pairs against a loop over queries and keys."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax import hide
from maskjax.errors import BadInput
from maskjax.hide.pairs import dense

# Whether key k, of segment t, is hidden from query q, of segment s.
RULES = {
  "causal": (hide.causal(), lambda q, k, s, t: k > q),
  "window": (hide.window(2), lambda q, k, s, t: abs(q - k) > 2),
  "prefix": (hide.prefix(3), lambda q, k, s, t: k > q and k >= 3),
  "segments": (hide.segments(), lambda q, k, s, t: s != t),
  "blocks": (hide.blocks(), lambda q, k, s, t: k > q and s != t),
}


def looped(rule, segments):
  """The mask of one sequence, pair by pair."""
  n = len(segments)
  rows = [[rule(q, k, segments[q], segments[k]) for k in range(n)] for q in range(n)]
  return np.array(rows, bool).reshape(n, n)


# Few lengths, each of which is compiled once.
sequences = st.sampled_from((1, 2, 5, 8)).flatmap(
  lambda n: st.lists(st.integers(0, 3), min_size=n, max_size=n)
)


@functools.cache
def masked(n):
  """Takes the segments of a sequence of n; gives the mask of every predicate."""
  return jax.jit(lambda segments: {name: dense(p, n, segments) for name, (p, _) in RULES.items()})


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=20, deadline=None)
@given(segments=sequences)
def test_each_predicate_equals_its_rule(name, segments):
  hidden = masked(len(segments))(np.array(segments, np.int32))[name]
  assert hidden.dtype == bool
  np.testing.assert_array_equal(hidden, looped(RULES[name][1], segments))


JOINED = [names for n in (1, 2, 3, 5) for names in itertools.combinations(RULES, n)]


def test_joined_predicates_are_any_and_all():
  segments = np.array([0, 0, 1, 1, 2, 2])

  def joined(names, segments):
    parts = [RULES[name][0] for name in names]
    nested = hide.both(hide.either(*parts), hide.either(*parts))
    ways = hide.either(*parts), hide.both(*parts), nested
    return [dense(way, 6, segments) for way in ways]

  every = jax.jit(lambda segments: {names: joined(names, segments) for names in JOINED})
  for names, (either, both, nested) in every(segments).items():
    masks = [looped(RULES[name][1], segments) for name in names]
    np.testing.assert_array_equal(either, np.any(masks, axis=0), str(names))
    np.testing.assert_array_equal(both, np.all(masks, axis=0), str(names))
    np.testing.assert_array_equal(nested, np.any(masks, axis=0), str(names))


def test_a_prefix_of_each_example():
  lengths = np.array([[0, 1], [4, 2]])

  @jax.jit
  def ways(lengths):
    each = {n: dense(hide.prefix(n), 4) for n in (0, 1, 2, 4)}
    return dense(hide.prefix(lengths), 4), each, dense(hide.causal(), 4)

  hidden, each, causal = jax.device_get(ways(lengths))
  assert hidden.shape == (2, 2, 4, 4)
  for place in np.ndindex(2, 2):
    np.testing.assert_array_equal(hidden[place], each[lengths[place]])
  np.testing.assert_array_equal(hidden[0, 0], causal)
  assert not hidden[1, 0].any()


def test_masks_are_those_of_the_positions_that_are_given():
  """A block of queries asks for its own rows of the whole mask."""
  predicate = hide.either(hide.causal(), hide.window(3), hide.segments())
  segments, rows = jnp.array([0, 0, 1, 1, 1, 2, 2, 2]), jnp.arange(3, 6)
  keys = jnp.arange(8)

  @jax.jit
  def ways(segments):
    pair = hide.Pair(rows[:, None], keys[None], segments[rows][:, None], segments[None])
    return predicate(pair), dense(predicate, 8, segments)[3:6]

  np.testing.assert_array_equal(*ways(segments))


@pytest.mark.parametrize(
  ("make", "says"),
  [
    (lambda: hide.window(-1), "radius of a window must not be negative, got -1"),
    (lambda: hide.either(), "no predicate to join"),
    (lambda: hide.both(), "no predicate to join"),
    (lambda: dense(hide.segments(), 3), r"segments\(\) needs the segment"),
    (lambda: dense(hide.blocks(), 3), r"blocks\(\) needs the segment"),
  ],
)
def test_what_cannot_be_is_refused(make, says):
  with pytest.raises(BadInput, match=says):
    make()
