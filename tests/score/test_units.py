"""Scores that positions inherit from their units."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import score, select, units
from maskjax.errors import BadInput
from maskjax.keys import keys

DRAWS = 4000


def at_once(draw):
  """What `draw` makes of the keys of `DRAWS` examples, of one program."""
  return jax.device_get(jax.jit(lambda key: draw(keys(key, DRAWS)))(jax.random.key(0)))


def chi_square(counts):
  expected = counts.sum() / len(counts)
  return ((counts - expected) ** 2 / expected).sum()


CELLS = [
  ((7,), (3,)),
  ((4, 6), (2, 3)),
  ((5, 7), (2, 3)),
  ((3, 2, 2), (None, 1, 1)),
  ((2, 3), (9, 1)),
]


@functools.cache
def of_cells():
  """Scores of eight examples on every grid."""
  blocks = lambda k, grid, size: score.blocks(k[:8], grid, size=size)
  return at_once(lambda k: {cells: blocks(k, *cells) for cells in CELLS})


@pytest.mark.parametrize(("grid", "size"), CELLS)
def test_positions_share_the_score_of_their_cell_and_of_no_other(grid, size):
  unit = units.blocks(grid, size)
  scores = of_cells()[grid, size]
  assert scores.dtype == np.float32
  assert scores.shape == (8, len(unit))
  for row in scores:
    by_unit = [set(row[unit == u].tolist()) for u in range(units.count(unit))]
    assert all(len(values) == 1 for values in by_unit)
    assert len(set.union(*by_unit)) == len(by_unit)


def test_cells_of_one_position_are_white_noise():
  both = lambda k: (score.blocks(k[:4], (3, 5), size=(1, 1)), score.uniform(k[:4], (3, 5)))
  np.testing.assert_array_equal(*at_once(both))


def test_each_cell_is_as_likely_to_be_first():
  first = at_once(lambda k: score.blocks(k, (4, 6), size=(2, 3))).argmax(-1)
  counts = np.bincount(units.blocks((4, 6), (2, 3))[first], minlength=4)
  assert chi_square(counts) < 16.27  # 0.1 % point, 3 degrees of freedom


def test_with_an_offset_every_border_is_equally_likely_and_lines_are_straight():
  grid, size = (7, 8), (3, 4)
  scores = at_once(lambda k: score.blocks(k, grid, size=size, offset=True)).reshape(-1, *grid)
  rows = (scores[:, 1:] != scores[:, :-1]).all(2)
  columns = (scores[:, :, 1:] != scores[:, :, :-1]).all(1)
  # A border is one for the whole row or column, or none at all.
  assert (rows == (scores[:, 1:] != scores[:, :-1]).any(2)).all()
  assert (columns == (scores[:, :, 1:] != scores[:, :, :-1]).any(1)).all()
  for border, side in ((rows, 3), (columns, 4)):
    share = border.mean(0)
    deviation = np.sqrt(1 / side * (1 - 1 / side) / len(border))
    assert (np.abs(share - 1 / side) < 4 * deviation).all()
    # Borders are a side apart: any run of `side` neighbours holds exactly one.
    runs = np.lib.stride_tricks.sliding_window_view(border, side, axis=1).sum(-1)
    assert (runs == 1).all()


@pytest.mark.parametrize("offset", [False, True])
def test_every_position_is_hidden_and_is_left(offset):
  draw = lambda k: score.blocks(k[:200], (5, 7), size=(2, 3), offset=offset)
  hidden = at_once(lambda k: select.top(draw(k), ratio=0.5))
  assert hidden.any(0).all()
  assert not hidden.all(0).any()
  assert (hidden.sum(-1) == round(0.5 * 35)).all()


def test_an_offset_leaves_whole_axes_whole():
  draw = lambda k: score.blocks(k[:50], (4, 6), size=(None, 2), offset=True)
  scores = at_once(draw).reshape(50, 4, 6)
  assert (scores == scores[:, :1]).all()
  assert len({tuple(row) for row in scores[:, 0, 1:] != scores[:, 0, :-1]}) == 2


def test_cells_of_another_number_of_axes_are_refused():
  with pytest.raises(BadInput, match=r"size \(2,\) has 1 axes"):
    score.blocks(jax.random.key(0), (4, 6), size=(2,))


def test_words_share_a_score_and_long_ones_are_not_preferred():
  unit = jnp.array([0, 0, 0, 0, 1, 2, 2])
  scores = at_once(lambda k: score.words(k, unit))
  assert (scores[:, :4] == scores[:, :1]).all()
  assert (scores[:, 5] == scores[:, 6]).all()
  assert (scores[:, 0] != scores[:, 4]).all()
  counts = np.bincount(np.asarray(unit)[scores.argmax(-1)])
  assert chi_square(counts) < 13.82  # 0.1 % point, 2 degrees of freedom


def test_words_of_an_example_are_its_own():
  starts = jnp.array([[True, False, True, False], [False, True, True, True]])
  unit = jax.jit(units.words)(starts)
  scores, alone = at_once(lambda k: (score.words(k[:2], unit), score.words(k[1], unit[1])))
  assert [len(set(row)) for row in scores.tolist()] == [2, 4]
  np.testing.assert_array_equal(scores[1], alone)


def test_inheriting_equals_indexing():
  random = np.random.default_rng(0)
  scores = random.normal(size=(2, 3, 5)).astype(np.float32)
  shared = random.integers(0, 5, 9).astype(np.int32)
  own = random.integers(0, 5, (2, 3, 9)).astype(np.int32)
  ways = lambda s, u: [score.inherit(s, unit) for unit in (shared, u, u[:1, :1])]
  expected = [
    scores[..., shared],
    np.take_along_axis(scores, own, -1),
    np.take_along_axis(scores, np.broadcast_to(own[:1, :1], (2, 3, 9)), -1),
  ]
  for got, taken in zip(jax.jit(ways)(scores, own), expected, strict=True):
    np.testing.assert_array_equal(got, taken)


@pytest.mark.parametrize("shape", [(4,), (1, 4)])
def test_what_has_no_unit_is_hidden_last(shape):
  unit = np.array([-1, 0, 3, 1]).reshape(shape)
  both = jax.jit(lambda s, u: (x := score.inherit(s, u), select.top(x, count=2)))
  scores, hidden = both(np.float32([[np.finfo(np.float32).min, 1.0]]), unit)
  assert np.isneginf(scores).tolist() == [[True, False, True, False]]
  assert hidden.tolist() == [[False, True, False, True]]


@pytest.mark.parametrize("shape", [(4,), (1, 4)])
def test_the_gradient_of_a_unit_is_the_sum_over_its_positions(shape):
  unit = jnp.array([1, 1, -1, 0]).reshape(shape)
  total = lambda s: jnp.nansum(score.inherit(s, unit) * jnp.array([1.0, 2.0, 4.0, 8.0]))
  assert jax.jit(jax.grad(total))(jnp.zeros((1, 3))).tolist() == [[8.0, 3.0, 0.0]]
