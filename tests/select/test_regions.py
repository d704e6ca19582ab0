"""Spans and boxes against plain loops; every edge position is reached."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.errors import BadInput
from maskjax.select import rectangles, spread

few = settings(deadline=None, max_examples=40)
ROWS, N = 2, 9
starts = st.lists(st.booleans(), min_size=ROWS * N, max_size=ROWS * N).map(
  lambda x: np.array(x).reshape(ROWS, N)
)
lengths = st.lists(st.integers(0, N + 2), min_size=ROWS * N, max_size=ROWS * N).map(
  lambda x: np.array(x, np.int32).reshape(ROWS, N)
)
limits = st.lists(st.integers(0, N), min_size=ROWS, max_size=ROWS).map(
  lambda x: np.array(x, np.int32)
)
spans = jax.jit(lambda s, x, n: spread(s, length=x, limit=n))


@given(starts, lengths, limits)
@few
def test_spread_hides_a_span_from_every_start(starts, lengths, limits):
  expected = np.zeros((ROWS, N), bool)
  for row, start in zip(*np.nonzero(starts), strict=True):
    expected[row, start : min(start + lengths[row, start], limits[row])] = True
  got = spans(starts, lengths, limits)
  np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("length", [0, 1, 3, 20])
def test_a_length_for_all_is_one_per_position_and_may_be_traced(length):
  starts = np.random.default_rng(0).random((4, N)) < 0.3

  @jax.jit
  def ways(starts, n, four):
    hide = functools.partial(spread, starts)
    same = [hide(length=length), hide(length=n), hide(length=length, limit=N)]
    cut = [hide(length=length, limit=limit) for limit in (4, four)]
    return hide(length=jnp.full((4, N), length)), same, cut

  each, same, cut = jax.device_get(ways(starts, length, np.int32(4)))
  for hidden in same:
    np.testing.assert_array_equal(hidden, each)
  for hidden in cut:
    np.testing.assert_array_equal(hidden, np.where(np.arange(N) < 4, each, False))


def test_spans_reach_both_ends():
  hidden = jax.jit(lambda s: spread(s, length=3))(np.eye(N, dtype=bool))
  assert hidden[0].tolist() == [True] * 3 + [False] * (N - 3)
  assert hidden[-1].tolist() == [False] * (N - 1) + [True]
  assert hidden.sum(-1).tolist() == [min(3, N - i) for i in range(N)]


def test_spans_that_cannot_be_are_refused():
  with pytest.raises(BadInput, match="must not be negative, got -1"):
    spread(jnp.array([True]), length=-1)
  with pytest.raises(TypeError):
    spread(jnp.array([1]), length=1)


@pytest.mark.parametrize("grid", [(7,), (3, 4), (2, 3, 4)])
def test_rectangles_hide_the_union_of_their_boxes(grid):
  axes, high = len(grid), max(grid)
  numbers = lambda low, high: st.lists(st.integers(low, high), min_size=3 * axes, max_size=3 * axes)
  boxes = jax.jit(lambda corner, size: rectangles(corner, size, grid=grid))

  @given(numbers(-2, high), numbers(0, high + 1))
  @few
  def check(corner, size):
    corner, size = (np.array(x, np.int32).reshape(3, axes) for x in (corner, size))
    expected = np.zeros(grid, bool)
    for start, end in zip(np.maximum(corner, 0), np.maximum(corner + size, 0), strict=True):
      expected[tuple(map(slice, start, end))] = True
    got = boxes(corner, size)
    np.testing.assert_array_equal(got, expected.reshape(-1))

  check()


def test_no_boxes_hide_nothing():
  none = jnp.zeros((2, 0, 2), int)
  assert rectangles(none, none, grid=(2, 3)).tolist() == [[False] * 6] * 2


@pytest.mark.parametrize(("grid", "size"), [((5, 7), (2, 3)), ((5, 7), (5, 7)), ((6,), (1,))])
def test_boxes_from_all_corners_are_whole_and_reach_every_position(grid, size):
  corners = list(itertools.product(*(range(g - s + 1) for g, s in zip(grid, size, strict=True))))
  corner = np.array(corners)[:, None]
  boxes = jax.jit(functools.partial(rectangles, grid=grid))
  hidden = np.asarray(boxes(corner, np.broadcast_to(size, corner.shape)))
  assert (hidden.sum(-1) == np.prod(size)).all()
  assert hidden.any(0).all()


def test_boxes_of_other_axes_than_the_grid_are_refused():
  two, three = jnp.zeros((1, 2), int), jnp.zeros((1, 3), int)
  with pytest.raises(BadInput, match=r"have 2 and 2 axes, the grid \(4,\) has 1"):
    rectangles(two, two, grid=(4,))
  with pytest.raises((BadInput, TypeError)):
    rectangles(two, three, grid=(4, 4))
