"""Unit maps against plain loops."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax import units
from maskjax.errors import BadInput

few = settings(deadline=None, max_examples=40)
axes = st.lists(st.tuples(st.integers(1, 6), st.none() | st.integers(1, 7)), min_size=1, max_size=3)


@given(axes)
@few
def test_blocks_number_the_cells_in_row_major_order(axes):
  grid, size = zip(*axes, strict=True)
  cell = lambda p: tuple(i // (g if s is None else s) for i, (g, s) in zip(p, axes, strict=True))
  cells = [cell(p) for p in itertools.product(*map(range, grid))]
  number = {c: i for i, c in enumerate(sorted(set(cells)))}
  unit = units.blocks(grid, size)
  assert unit.dtype == np.int32
  assert unit.tolist() == [number[c] for c in cells]
  assert units.count(unit) == len(number)


def test_tubes_and_frames_of_a_clip():
  tubes = units.blocks((3, 2, 2), (None, 1, 1)).reshape(3, 4)
  assert tubes.tolist() == [[0, 1, 2, 3]] * 3
  frames = units.blocks((3, 2, 2), (1, None, None)).reshape(3, 4)
  assert frames.tolist() == [[0] * 4, [1] * 4, [2] * 4]


def test_the_grid_of_one_position_and_no_units():
  assert units.blocks((), ()).tolist() == [0]
  assert units.count(np.zeros(0, np.int32)) == 0
  assert units.count(np.array([-1, -1])) == 0


@pytest.mark.parametrize(
  ("size", "says"),
  [
    ((2,), r"^size \(2,\) has 1 axes, the grid \(4, 6\) 2$"),
    ((2, 0), r"at least 1 or None, got \(2, 0\)"),
    ((-1, None), r"at least 1 or None, got \(-1, None\)"),
  ],
)
def test_cells_that_cannot_be_are_refused(size, says):
  with pytest.raises(BadInput, match=says):
    units.blocks((4, 6), size)


@given(st.lists(st.integers(0, 4), max_size=5))
@few
def test_sections_follow_each_other(sizes):
  unit = units.sections(sizes)
  assert unit.dtype == np.int32
  assert unit.tolist() == [i for i, size in enumerate(sizes) for _ in range(size)]


def test_a_section_of_negative_size_is_refused():
  with pytest.raises(BadInput, match=r"must not be negative, got \(2, -1\)"):
    units.sections((2, -1))


words = jax.jit(lambda starts: (units.words(starts), jax.vmap(units.words)(starts)))


@given(st.lists(st.booleans(), min_size=14, max_size=14))
@few
def test_words_begin_where_they_start(starts):
  starts = np.array(starts).reshape(2, 7)
  unit, mapped = map(np.asarray, words(starts))
  for row, begins in zip(unit, starts, strict=True):
    assert row[0] == 0
    assert (np.diff(row) == begins[1:]).all()
  np.testing.assert_array_equal(mapped, unit)


def test_starts_that_are_not_bool_are_refused():
  with pytest.raises(TypeError, match="starts is a mask of bool, got an array of int32"):
    units.words(jnp.array([1, 0]))
