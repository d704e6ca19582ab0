"""Selection by groups against plain loops over a stable sort."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax import units
from maskjax.errors import BadInput
from maskjax.select import n_of_m, per_block, per_section, top, whole

few = settings(deadline=None, max_examples=30)
ROWS, N = 2, 12
values = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, np.inf, -np.inf, np.nan])
scores = st.lists(values, min_size=ROWS * N, max_size=ROWS * N).map(
  lambda x: np.array(x, np.float32).reshape(ROWS, N)
)
masks = st.lists(st.booleans(), min_size=ROWS * N, max_size=ROWS * N).map(
  lambda x: np.array(x).reshape(ROWS, N)
)


def highest(scores, count, allowed):
  """The first `count` allowed of a row in a stable sort: high first, NaN last."""
  order = np.lexsort((-np.nan_to_num(scores.astype(np.float64), nan=0), np.isnan(scores)))
  hidden = np.zeros(scores.shape, bool)
  hidden[[i for i in order if allowed[i]][:count]] = True
  return hidden


def by_unit(scores, unit, counts, allowed):
  """The highest `counts[row][u]` of every unit u of a row."""
  hidden = np.zeros(scores.shape, bool)
  for row, u in itertools.product(range(len(scores)), np.unique(unit)):
    part = np.flatnonzero(unit == u)
    hidden[row, part] = highest(scores[row, part], counts[row][u], allowed[row, part])
  return hidden


@pytest.mark.parametrize(("keep", "of"), [(2, 4), (1, 3), (0, 2), (3, 3), (1, 1), (5, 12)])
def test_n_of_m_hides_the_highest_of_every_group(keep, of):
  select = jax.jit(lambda s, a: n_of_m(s, keep=keep, of=of, allowed=a))
  unit = np.arange(N) // of

  @given(scores, masks)
  @few
  def check(s, allowed):
    hidden = np.asarray(select(jnp.asarray(s), jnp.asarray(allowed)))
    expected = by_unit(s, unit, [[of - keep] * N] * ROWS, allowed)
    np.testing.assert_array_equal(hidden, expected)

  check()


CUBE = np.random.default_rng(0).standard_normal((4, 8, 12), np.float32)


@functools.cache
def along_every_axis():
  """The masks along each axis, and those of the scores with that axis moved to the end."""
  hide = lambda x, axis: n_of_m(x, keep=1, of=4, axis=axis)
  each = lambda x: {a: (hide(x, a), hide(jnp.moveaxis(x, a, -1), -1)) for a in range(-3, 3)}
  return jax.device_get(jax.jit(each)(CUBE))


@pytest.mark.parametrize("axis", [-1, -2, -3, 0, 1, 2])
def test_n_of_m_along_any_axis_keeps_exactly_n(axis):
  hidden, moved = along_every_axis()[axis]
  groups = np.moveaxis(hidden, axis, -1)
  assert (groups.reshape(*groups.shape[:-1], -1, 4).sum(-1) == 3).all()
  np.testing.assert_array_equal(groups, moved)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_n_of_m_of_other_precisions(dtype):
  x = np.round(4 * CUBE[0]).astype(dtype)
  both = jax.jit(lambda x: [n_of_m(s, keep=2, of=4) for s in (x, x.astype(jnp.float32))])
  np.testing.assert_array_equal(*both(x))


def test_n_of_m_of_all_is_top():
  both = jax.jit(lambda x: (n_of_m(x, keep=4, of=12), top(x, count=8)))
  np.testing.assert_array_equal(*both(CUBE[0]))


def test_n_of_m_neither_sorts_nor_gathers():
  lowered = jax.jit(lambda x: n_of_m(x, keep=2, of=4, axis=-2)).lower(jnp.zeros((64, 32)))
  text = lowered.as_text()
  assert "compare" in text
  assert "sort" not in text
  assert "gather" not in text


@pytest.mark.parametrize(
  ("given", "says"),
  [
    (dict(keep=1, of=4), r"axis 1 of scores \(2, 6\) is not divisible by 4 \(divisors: 1, 2, 3, 6"),
    (dict(keep=1, of=4, axis=0), r"axis 0 of scores \(2, 6\) .* \(divisors: 1, 2\)"),
    (dict(keep=1, of=0), "not divisible by 0"),
    (dict(keep=4, of=3), "of every 3 positions 0 to 3 can be kept, got keep=4"),
    (dict(keep=-1, of=3), "got keep=-1"),
    (dict(keep=1, of=2, axis=2), "have no axis 2"),
  ],
)
def test_groups_that_cannot_be_are_refused(given, says):
  with pytest.raises(BadInput, match=says):
    n_of_m(jnp.zeros((2, 6)), **given)


@pytest.mark.parametrize(
  ("grid", "size", "count"),
  [
    ((12,), (4,), 3),
    ((2, 6), (2, 3), 4),
    ((4, 3), (2, 1), 1),
    ((2, 2, 3), (None, 1, 3), 6),
    ((2, 6), (1, None), 0),
    ((3, 4), (1, 1), 1),
  ],
)
def test_per_block_hides_the_same_number_in_every_cell(grid, size, count):
  select = jax.jit(lambda s, a: per_block(s, grid=grid, size=size, count=count, allowed=a))
  unit = units.blocks(grid, size)

  @given(scores, masks)
  @few
  def check(s, allowed):
    hidden = np.asarray(select(jnp.asarray(s), jnp.asarray(allowed)))
    np.testing.assert_array_equal(hidden, by_unit(s, unit, [[count] * N] * ROWS, allowed))

  check()


def test_the_number_of_a_cell_may_be_an_examples_own():
  cells = functools.partial(per_block, grid=(6, 2), size=(2, 1))
  every = jax.jit(lambda x, c, r, one: (cells(x, count=c), cells(x, ratio=r), cells(x, count=one)))
  x, ratio = CUBE[0, :3], np.float32([0.0, 0.5, 1.0])
  counted, shared, traced = map(np.asarray, every(x, np.array([0, 1, 2]), ratio, 1))
  in_cells = lambda hidden: hidden.reshape(3, 3, 2, 2).transpose(0, 1, 3, 2).sum(-1)
  assert (in_cells(counted) == np.array([0, 1, 2])[:, None, None]).all()
  np.testing.assert_array_equal(shared, counted)
  assert (in_cells(traced) == 1).all()


@pytest.mark.parametrize(("ratio", "expected"), [(0.0, 0), (0.75, 147), (1.0, 196)])
def test_per_block_by_a_ratio(ratio, expected):
  x = np.random.default_rng(0).random((50, 196), np.float32)
  hidden = jax.jit(lambda x: per_block(x, grid=(14, 14), size=(2, 2), ratio=ratio))(x)
  assert (hidden.sum(-1) == expected).all()
  if 0 < ratio < 1:
    assert hidden.any(0).all()
    assert not hidden.all(0).any()


@pytest.mark.parametrize(
  ("given", "says"),
  [
    (dict(size=(2, 4)), r"axis 1 of grid \(2, 6\) is not divisible by 4 \(divisors: 1, 2, 3, 6\)"),
    (dict(size=(2,)), r"size \(2,\) has 1 axes"),
    (dict(size=(2, 3), count=7), r"must lie in \[0, 6\], got 7"),
    (dict(size=(2, 3), count=1, grid=(4, 6)), r"12 scores do not fill a grid of \(4, 6\)"),
    (dict(size=(2, 3)), "give a count or a ratio"),
  ],
)
def test_cells_that_cannot_be_are_refused(given, says):
  with pytest.raises(BadInput, match=says):
    per_block(jnp.zeros((2, 12)), **{"grid": (2, 6), **given})


@pytest.mark.parametrize(
  ("sizes", "counts"), [((5, 7), (2, 7)), ((3, 0, 9), (3, 0, 0)), ((12,), (5,)), ((1, 11), (0, 4))]
)
def test_per_section_hides_each_sections_count(sizes, counts):
  select = lambda s, counts, a: per_section(s, sizes=sizes, counts=counts, allowed=a)
  both = jax.jit(lambda s, c, a: (select(s, counts, a), select(s, c, a)))
  unit = units.sections(sizes)

  @given(scores, masks)
  @few
  def check(s, allowed):
    expected = by_unit(s, unit, [counts] * ROWS, allowed)
    static, traced = both(s, np.array(counts), allowed)
    np.testing.assert_array_equal(static, expected)
    np.testing.assert_array_equal(traced, expected)

  check()


def test_the_counts_of_sections_may_be_an_examples_own():
  counts = np.array([[0, 3], [2, 1]])
  hide = lambda counts: per_section(jnp.zeros((2, 6)), sizes=(2, 4), counts=counts)
  every = jax.jit(lambda c, first: (hide(c), hide(counts), hide([first, 3])))
  traced, static, each = every(counts, np.array([0, 2]))
  np.testing.assert_array_equal(static, traced)
  assert traced.astype(int).tolist() == [[0, 0, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0]]
  assert each.sum(-1).tolist() == [3, 5]


@pytest.mark.parametrize(
  ("sizes", "counts", "says"),
  [
    ((2, 3), (1, 1), r"sections of \(2, 3\) do not make up 6 positions"),
    ((7, -1), (1, 1), r"sections of \(7, -1\) do not make up 6 positions"),
    ((2, 4), (1,), "2 sections want as many counts, got 1"),
    ((2, 4), jnp.array([1, 1, 1]), "2 sections want as many counts, got 3"),
    ((2, 4), (3, 1), r"must lie in \[0, 2\], got 3"),
  ],
)
def test_sections_that_cannot_be_are_refused(sizes, counts, says):
  with pytest.raises(BadInput, match=says):
    per_section(jnp.zeros((2, 6)), sizes=sizes, counts=counts)


maps = st.lists(st.integers(-1, 4), min_size=ROWS * N, max_size=ROWS * N).map(
  lambda x: np.array(x, np.int32).reshape(ROWS, N)
)
completed = jax.jit(lambda h, u, a: whole(h, u, up=True, allowed=a))
given_back = jax.jit(lambda h, u, a: whole(h, u, allowed=a))


@given(masks, maps, masks)
@few
def test_whole_leaves_no_unit_half_hidden(hidden, unit, allowed):
  arrays = [jnp.asarray(x) for x in (hidden, unit, allowed)]
  up, down = np.asarray(completed(*arrays)), np.asarray(given_back(*arrays))
  hidden = hidden & allowed
  for row in range(ROWS):
    alone = unit[row] < 0
    for result in (up, down):
      np.testing.assert_array_equal(result[row][alone], hidden[row][alone])
    for u in range(5):
      part = (unit[row] == u) & allowed[row]
      assert (up[row][part] == hidden[row][part].any()).all()
      assert (down[row][part] == hidden[row][part].all()).all()
  assert not ((up | down) & ~allowed).any()


def test_whole_with_one_map_for_all_and_blocks_cut_by_a_budget():
  unit = units.blocks((4, 4), (2, 2))

  @jax.jit
  def hide(scores, count):
    hidden = top(scores, count=count)
    return hidden, whole(hidden, unit), whole(hidden, unit, up=True)

  cut = hide(-unit[None].repeat(3, 0).astype(np.float32), np.array([0, 6, 16]))
  assert [hidden.sum(-1).tolist() for hidden in cut] == [[0, 6, 16], [0, 4, 16], [0, 8, 16]]


def test_masks_that_are_not_bool_are_refused():
  ints = jnp.array([1, 0])
  for take in (
    lambda: whole(ints, jnp.array([0, 0])),
    lambda: whole(ints == 1, jnp.array([0, 0]), allowed=ints),
    lambda: n_of_m(jnp.zeros(2), keep=1, of=2, allowed=ints),
    lambda: n_of_m(ints, keep=1, of=2),
    lambda: per_block(jnp.zeros(2), grid=(2,), size=(2,), count=1, allowed=ints),
    lambda: per_section(jnp.zeros(2), sizes=(2,), counts=(1,), allowed=ints),
  ):
    with pytest.raises(TypeError):
      take()
