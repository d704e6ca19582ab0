"""Masks of pairs against a loop over queries and keys."""

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
  "blocks": (hide.blocks(), lambda q, k, s, t: t > s),
}


def looped(rule, segments):
  """The mask of one sequence, pair by pair."""
  n = len(segments)
  rows = [[rule(q, k, segments[q], segments[k]) for k in range(n)] for q in range(n)]
  return np.array(rows, bool).reshape(n, n)


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=20, deadline=None)
@given(segments=st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_each_predicate_equals_its_rule(name, segments):
  predicate, rule = RULES[name]
  hidden = dense(predicate, len(segments), jnp.array(segments))
  assert hidden.dtype == bool
  np.testing.assert_array_equal(hidden, looped(rule, segments))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(sorted(RULES)), min_size=1, max_size=4), st.integers(0, 9))
def test_joined_predicates_are_any_and_all(names, seed):
  segments = np.sort(np.random.default_rng(seed).integers(0, 3, 6))
  masks = [looped(RULES[name][1], segments) for name in names]
  parts = [RULES[name][0] for name in names]
  whole = lambda predicate: dense(predicate, 6, jnp.asarray(segments))
  np.testing.assert_array_equal(whole(hide.either(*parts)), np.any(masks, axis=0))
  np.testing.assert_array_equal(whole(hide.both(*parts)), np.all(masks, axis=0))
  nested = hide.both(hide.either(*parts), hide.either(*parts))
  np.testing.assert_array_equal(whole(nested), np.any(masks, axis=0))


def test_a_prefix_of_each_example():
  lengths = jnp.array([[0, 1], [4, 2]])
  hidden = dense(hide.prefix(lengths), 4)
  assert hidden.shape == (2, 2, 4, 4)
  for place in np.ndindex(2, 2):
    np.testing.assert_array_equal(hidden[place], dense(hide.prefix(int(lengths[place])), 4))
  np.testing.assert_array_equal(hidden[0, 0], dense(hide.causal(), 4))
  assert not hidden[1, 0].any()


def test_masks_are_those_of_the_positions_that_are_given():
  """A block of queries asks for its own rows of the whole mask."""
  predicate = hide.either(hide.causal(), hide.window(3), hide.segments())
  segments, rows = jnp.array([0, 0, 1, 1, 1, 2, 2, 2]), jnp.arange(3, 6)
  keys = jnp.arange(8)
  pair = hide.Pair(rows[:, None], keys[None], segments[rows][:, None], segments[None])
  np.testing.assert_array_equal(jax.jit(predicate)(pair), dense(predicate, 8, segments)[3:6])


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
