"""Several masks of one score."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.errors import BadInput
from maskjax.select import again, disjoint, n_of_m, nested, top

few = settings(deadline=None, max_examples=30)
ROWS, N = 3, 8
values = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, np.inf, -np.inf, np.nan])
scores = st.lists(values, min_size=ROWS * N, max_size=ROWS * N).map(
  lambda x: np.array(x, np.float32).reshape(ROWS, N)
)
masks = st.lists(st.booleans(), min_size=ROWS * N, max_size=ROWS * N).map(
  lambda x: np.array(x).reshape(ROWS, N)
)
views = lambda select: jax.jit(lambda s, c, a: select(s, counts=list(c), allowed=a))
nest, part = views(nested), views(disjoint)
third = functools.partial(top, ratio=1 / 3)
hide_again = jax.jit(lambda s, a: again(s, select=third, times=3, allowed=a))
highest = jax.jit(lambda s, c, a: top(s, count=c, allowed=a))


@given(scores, st.lists(st.integers(0, N), min_size=3, max_size=3), masks)
@few
def test_nested_masks_lie_in_each_other(scores, counts, allowed):
  hidden = np.asarray(nest(scores, np.array(counts), allowed))
  for view, count in zip(hidden, counts, strict=True):
    np.testing.assert_array_equal(view, highest(scores, np.int32(count), allowed))
  ordered = hidden[np.argsort(counts)]
  assert not (ordered[:-1] & ~ordered[1:]).any()


@given(scores, st.lists(st.integers(0, 4), min_size=3, max_size=3), masks)
@few
def test_disjoint_masks_do_not_meet_and_are_the_highest(scores, counts, allowed):
  hidden = np.asarray(part(scores, np.array(counts), allowed))
  assert hidden.sum(0).max() <= 1
  assert not (hidden & ~allowed).any()
  left = allowed.copy()
  for view, count in zip(hidden, counts, strict=True):
    np.testing.assert_array_equal(view.sum(-1), np.minimum(count, left.sum(-1)))
    expected = highest(scores, np.int32(count), left)
    np.testing.assert_array_equal(view, expected)
    left &= ~view


def test_complementary_views_hide_everything_once():
  scores = np.random.default_rng(0).standard_normal((ROWS, N), np.float32)
  hidden = np.asarray(jax.jit(lambda s: disjoint(s, counts=(3, 0, 5)))(scores))
  assert hidden.shape == (3, ROWS, N)
  assert (hidden.sum(0) == 1).all()
  assert hidden.sum(-1).tolist() == [[3] * ROWS, [0] * ROWS, [5] * ROWS]


def test_counts_may_be_an_examples_own():
  take = lambda s, c: [select(s, counts=[c, 2]) for select in (nested, disjoint)]
  for hidden in jax.jit(take)(jnp.zeros((ROWS, N)), jnp.array([1, 0, 4])):
    assert hidden.sum(-1).tolist() == [[1, 0, 4], [2, 2, 2]]


def test_edges_are_reached_and_no_views_are_none():
  drawn = np.random.default_rng(0).random((50, N), np.float32)
  assert np.asarray(jax.jit(lambda s: disjoint(s, counts=(2, 2)))(drawn)).any(1).all()
  for select in (nested, disjoint):
    assert jax.eval_shape(lambda s, select=select: select(s, counts=()), drawn).shape == (0, 50, N)


def test_counts_that_cannot_be_are_refused():
  for select, counts, got in ((nested, (1, 9), 9), (disjoint, (4, 5), 9), (disjoint, (4, -1), -1)):
    with pytest.raises(BadInput, match=rf"must lie in \[0, 8\], got {got}"):
      jax.eval_shape(lambda s, take=select, c=counts: take(s, counts=c), jnp.zeros(N))


@given(scores, masks)
@few
def test_what_is_hidden_again_is_the_next_highest_as_many(scores, allowed):
  count = np.rint(allowed.sum(-1) / 3).astype(np.int32)
  found = hide_again(scores, allowed)
  np.testing.assert_array_equal(found, part(scores, np.stack([count] * 3), allowed))


def test_views_that_cannot_be_hidden_again_are_refused():
  with pytest.raises(BadInput, match="at least one in number, got times=0"):
    again(jnp.zeros((1, 4)), select=functools.partial(top, count=1), times=0)
  with pytest.raises(BadInput, match="needs a count"):
    again(jnp.zeros((1, 4)), select=functools.partial(n_of_m, keep=2, of=4), times=2)
  with pytest.raises(BadInput, match=r"2 views that each hide 0\.6 are more"):
    again(jnp.zeros((1, 5)), select=functools.partial(top, ratio=0.6), times=2)
