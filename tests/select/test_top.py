"""Selection against a stable sort, with every kind of score that floats can hold."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.errors import BadInput
from maskjax.select import count_of, threshold, top

N, ROWS = 7, 3
few = settings(deadline=None, max_examples=60)
# Few values, so that ties are common; subnormal numbers, both zeros, infinities and NaN among them.
values = st.sampled_from(
  [0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, -1e-45, 3e-45, 3e38, -3e38, np.inf, -np.inf, np.nan]
) | st.floats(width=32)
scores = st.lists(values, min_size=N * ROWS, max_size=N * ROWS).map(
  lambda x: np.array(x, np.float32).reshape(ROWS, N)
)
masks = st.lists(st.booleans(), min_size=N * ROWS, max_size=N * ROWS).map(
  lambda x: np.array(x).reshape(ROWS, N)
)
counts = st.lists(st.integers(0, N), min_size=ROWS, max_size=ROWS).map(
  lambda x: np.array(x, np.int32)
)
# Compiled once; eager and other ways of calling it are in the conformance table.
by_count = jax.jit(lambda s, c, a: top(s, count=c, allowed=a))


def oracle(scores, count, allowed):
  """The first `count` allowed positions in a stable sort: high first, NaN last."""
  hidden = np.zeros(scores.shape, bool)
  for row, (s, c, a) in enumerate(zip(scores, count, allowed, strict=True)):
    order = np.lexsort((-np.nan_to_num(s.astype(np.float64), nan=0), np.isnan(s)))
    chosen = [i for i in order if a[i]][:c]
    hidden[row, chosen] = True
  return hidden


@given(scores, counts, masks)
@few
def test_equals_a_stable_sort(scores, count, allowed):
  hidden = np.asarray(by_count(jnp.asarray(scores), jnp.asarray(count), jnp.asarray(allowed)))
  np.testing.assert_array_equal(hidden, oracle(scores, count, allowed))
  np.testing.assert_array_equal(hidden.sum(-1), np.minimum(count, allowed.sum(-1)))
  assert not (hidden & ~allowed).any()


@given(scores, st.integers(0, N))
@settings(deadline=None, max_examples=10)
def test_a_static_a_traced_and_a_count_per_example_agree(scores, count):
  everywhere, scores = np.ones((ROWS, N), bool), jnp.asarray(scores)
  expected = oracle(np.asarray(scores), [count] * ROWS, everywhere)
  np.testing.assert_array_equal(top(scores, count=count), expected)
  np.testing.assert_array_equal(top(scores, count=jnp.int32(count)), expected)
  np.testing.assert_array_equal(top(scores, count=jnp.full(ROWS, count)), expected)


@given(masks, st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]))
@few
def test_a_ratio_is_a_rounded_share_of_the_allowed(allowed, ratio):
  hide = jax.jit(lambda a: top(jnp.zeros((ROWS, N)), ratio=ratio, allowed=a))
  expected = [round(ratio * int(n)) for n in allowed.sum(-1)]
  assert hide(jnp.asarray(allowed)).sum(-1).tolist() == expected


@pytest.mark.parametrize("n", [0, 1, 5, 196, 20_000_001, 2**31 - 1])
@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.3, 0.35, 0.5, 0.75, 0.9, 1 / 3, 1.0])
def test_traced_numbers_of_positions_round_like_python(n, ratio):
  assert int(jax.jit(lambda n: count_of(n, ratio=ratio))(jnp.int32(n))) == round(ratio * n)
  assert count_of(n, ratio=ratio) == round(ratio * n)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.3, 0.35, 0.5, 0.75, 0.9, 1.0])
def test_traced_ratios_round_as_float32_and_stay_exact(ratio):
  n = np.arange(300)
  got = jax.jit(lambda r: count_of(jnp.asarray(n), ratio=r))(jnp.float32(ratio))
  np.testing.assert_array_equal(got, np.round(np.float32(ratio) * n.astype(np.float32)))
  huge = 20_000_001
  exact = round(float(np.float32(ratio)) * huge)
  assert int(jax.jit(lambda r: count_of(huge, ratio=r))(jnp.float32(ratio))) == exact


def test_ratios_0_and_1():
  scores = jnp.array([jnp.nan, -jnp.inf, 0.0, jnp.inf])
  assert not top(scores, ratio=0.0).any()
  assert top(scores, ratio=1.0).all()
  allowed = jnp.array([True, False, True, False])
  assert top(scores, ratio=1.0, allowed=allowed).tolist() == allowed.tolist()


def test_order_of_unusual_scores():
  # Best first; each is hidden before all that follow. Subnormal numbers are numbers.
  falling = [jnp.inf, 3e38, 1.0, 3e-45, 1e-45, 0.0, -1e-45, -1.0, -3e38, -jnp.inf, jnp.nan]
  scores = jnp.asarray(np.array(falling[::-1], np.float32))
  for count in range(len(falling) + 1):
    assert top(scores, count=count).tolist() == [i < count for i in range(len(falling))][::-1]


def test_ties_go_to_the_lower_index():
  assert top(jnp.array([-0.0, 0.0, -0.0, 0.0]), count=2).tolist() == [True, True, False, False]
  assert top(jnp.array([jnp.nan, -jnp.nan]), count=1).tolist() == [True, False]
  for count in range(8):
    assert top(jnp.ones(7), count=min(count, 7)).tolist() == [i < count for i in range(7)]


@pytest.mark.parametrize("n", [0, 1, 2, 31, 32, 33])
def test_small_sizes(n):
  scores = jnp.asarray(np.random.default_rng(n).permutation(n), jnp.float32).reshape(1, n)
  for count in {0, n // 2, n}:
    hidden = top(scores, count=count)
    assert hidden.shape == (1, n)
    assert hidden.sum() == count
    assert (hidden == (scores >= n - count)).all()


def test_twenty_million_positions():
  n, count = 20_000_000, 16_777_217  # float32 cannot count to this one
  scores = np.random.default_rng(0).integers(0, 1000, n).astype(np.float32)
  hidden = np.asarray(jax.jit(lambda s: top(s, count=count))(scores))
  assert hidden.sum() == count
  level = np.partition(scores, n - count)[n - count]
  tied = np.flatnonzero(scores == level)
  room = count - (scores > level).sum()
  assert hidden[scores > level].all()
  assert not hidden[scores < level].any()
  assert hidden[tied[:room]].all()
  assert not hidden[tied[room:]].any()


def test_rows_where_nothing_is_allowed_hide_nothing():
  allowed = jnp.array([[False] * N, [True] * N, [True] + [False] * (N - 1)])
  scores = jnp.ones((ROWS, N))
  assert top(scores, count=3, allowed=allowed).sum(-1).tolist() == [0, 3, 1]
  assert top(scores, ratio=1.0, allowed=allowed).sum(-1).tolist() == [0, N, 1]
  assert top(scores, count=2, allowed=allowed[1]).sum(-1).tolist() == [2, 2, 2]


def test_an_untraced_count_fixes_the_shape_of_what_is_kept():
  keep = lambda x: jnp.zeros(196 - count_of(196, ratio=0.75)) + x
  assert jax.jit(keep)(1.0).shape == (49,)
  for ratio in (0.75, np.float32(0.75), np.float64(0.75)):
    assert type(count_of(196, ratio=ratio)) is int
  assert type(count_of(196, count=np.int64(3))) is int


@pytest.mark.parametrize(
  ("given", "says"),
  [
    ({}, "give a count or a ratio"),
    ({"count": 1, "ratio": 0.5}, "give a count or a ratio"),
    ({"ratio": 1.01}, r"must lie in \[0, 1\], got 1.01"),
    ({"ratio": -0.1}, r"must lie in \[0, 1\], got -0.1"),
    ({"ratio": float("nan")}, r"must lie in \[0, 1\], got nan"),
    ({"ratio": "half"}, "must be a number, got 'half'"),
    ({"count": 5}, r"must lie in \[0, 4\], got 5"),
    ({"count": -1}, r"must lie in \[0, 4\], got -1"),
    ({"count": 2.0}, "must be an integer, got 2.0"),
    ({"count": np.array([1.5])}, "must be integers, got float64"),
  ],
)
def test_what_is_no_count_is_refused(given, says):
  with pytest.raises(BadInput, match=says):
    count_of(4, **given)


def test_a_count_above_the_positions_is_refused_where_some_are_not_allowed():
  with pytest.raises(BadInput, match=r"must lie in \[0, 4\], got 5"):
    top(jnp.ones(4), count=5, allowed=jnp.array([True, False, True, True]))


def test_scores_of_other_types_are_refused():
  # Two integers above 2²⁴ may be one float32: the caller says how they compare.
  for scores in (jnp.array([3, 1, 2]), jnp.array([True, False, True])):
    with pytest.raises(TypeError):
      top(scores, count=1)


@given(scores, st.floats(-2, 2, width=32), masks)
@settings(deadline=None, max_examples=30)
def test_threshold_hides_what_lies_above(scores, level, allowed):
  got = threshold(jnp.asarray(scores), above=level, allowed=jnp.asarray(allowed))
  # XLA's comparison may take subnormal numbers for zero.
  tiny = np.float32(np.finfo(np.float32).tiny)
  flat = lambda x: np.where(np.abs(x) < tiny, np.float32(0), np.float32(x))
  np.testing.assert_array_equal(got, (flat(scores) > flat(level)) & allowed)


def test_threshold_of_an_example_is_its_own():
  got = threshold(jnp.tile(jnp.array([1.0, 2.0, 3.0]), (3, 1)), above=jnp.array([0.0, 2.0, 3.0]))
  assert got.sum(-1).tolist() == [3, 1, 0]


# A tree whose leaves differ in rank and size, one of them empty, one of a single number.
SHAPES = {"a": (2, 3), "b": {"c": (), "d": (4,)}, "e": (0, 2), "f": None, "g": (1, 2, 2)}
SIZES = [6, 1, 4, 0, 4]
total = sum(SIZES)
flat_scores = st.lists(values, min_size=total, max_size=total).map(lambda x: np.float32(x))
flat_masks = st.lists(st.booleans(), min_size=total, max_size=total).map(np.array)
of_all = jax.jit(lambda s, c, a: top(s, count=c, allowed=a, axis=None))
share_of_all = jax.jit(lambda s, a: top(s, ratio=0.3, allowed=a, axis=None))


def as_tree(flat):
  """The entries of `flat` in leaves of `SHAPES`, in tree order and row-major in each."""
  shapes, tree = jax.tree.flatten(SHAPES, is_leaf=lambda s: isinstance(s, tuple))
  parts = np.split(flat, np.cumsum(SIZES)[:-1])
  return tree.unflatten([jnp.asarray(p.reshape(s)) for p, s in zip(parts, shapes, strict=True)])


def as_row(tree):
  return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@given(flat_scores, st.integers(0, total), flat_masks)
@few
def test_the_entries_of_a_tree_compete_as_those_of_one_row(scores, count, allowed):
  for where, mask in ((None, np.ones(total, bool)), (as_tree(allowed), allowed)):
    hidden = of_all(as_tree(scores), jnp.int32(count), where)
    assert jax.tree.structure(hidden) == jax.tree.structure(as_tree(scores))
    np.testing.assert_array_equal(as_row(hidden), oracle(scores[None], [count], mask[None])[0])


@given(flat_scores, flat_masks)
@settings(deadline=None, max_examples=20)
def test_a_ratio_of_a_tree_is_a_rounded_share_of_all_that_is_allowed(scores, allowed):
  assert as_row(share_of_all(as_tree(scores), None)).sum() == round(0.3 * total)
  hidden = as_row(share_of_all(as_tree(scores), as_tree(allowed)))
  assert hidden.sum() == round(0.3 * allowed.sum())
  assert not (hidden & ~allowed).any()


def test_a_leaf_of_a_tree_without_a_mask_is_allowed_whole():
  scores = {"a": jnp.ones((2, 2)), "b": jnp.ones(3)}
  hidden = top(scores, ratio=0.75, allowed={"a": None, "b": jnp.zeros(3, bool)}, axis=None)
  assert as_row(hidden).tolist() == [True, True, True, False, False, False, False]


def test_counts_of_more_than_int32_holds_give_the_same_masks(monkeypatch):
  scores = as_tree(np.random.default_rng(0).integers(0, 4, total).astype(np.float32))
  allowed = as_tree(np.arange(total) % 3 > 0)
  ways = [({"count": 7}, None), ({"ratio": 0.5}, allowed), ({"ratio": jnp.float32(0.3)}, None)]
  compiled = lambda way: jax.jit(lambda s: top(s, **way[0], allowed=way[1], axis=None))
  narrow = [as_row(compiled(way)(scores)) for way in ways]
  monkeypatch.setattr(importlib.import_module("maskjax.select.top"), "LARGEST", total - 1)
  for way, expected in zip(ways, narrow, strict=True):
    np.testing.assert_array_equal(as_row(compiled(way)(scores)), expected)
  eager = top(scores, **ways[0][0], axis=None)
  np.testing.assert_array_equal(as_row(eager), narrow[0])


@pytest.mark.parametrize("part", [1, 3, 4, 6])
def test_entries_counted_in_parts_give_the_same_masks(monkeypatch, part):
  scores = as_tree(np.random.default_rng(0).integers(0, 4, total).astype(np.float32))
  whole = jax.jit(lambda s, count: top(s, count=count, axis=None))
  expected = [as_row(whole(scores, count)) for count in range(total + 1)]
  monkeypatch.setattr(importlib.import_module("maskjax.select.search"), "PART", part)
  compiled = jax.jit(lambda s, count: top(s, count=count, axis=None))
  for count, mask in enumerate(expected):
    assert mask.sum() == count
    np.testing.assert_array_equal(as_row(compiled(scores, count)), mask)


@pytest.mark.parametrize("step", [1, 2, 7])
def test_a_sample_only_leads_the_search(monkeypatch, step):
  search = importlib.import_module("maskjax.select.search")
  monkeypatch.setattr(search, "MANY", 1)
  monkeypatch.setattr(search, "STEP", step)
  compiled = jax.jit(lambda s, count, allowed: top(s, count=count, allowed=allowed, axis=None))
  draw = np.random.default_rng(0)
  for scale in (1, 1e3, np.nan):  # many ties, hardly any, no numbers
    # One sample in seven of rows of seven sees a column of zeros only.
    scores = np.round(draw.normal(size=(40, 7)) * scale).astype(np.float32)
    scores[:, 0] = 0
    allowed = draw.random((40, 7)) < 0.8
    for count in (0, 1, 100, 223, 280):
      hidden = np.asarray(compiled(jnp.asarray(scores), count, jnp.asarray(allowed)))
      expected = oracle(scores.reshape(1, -1), [count], allowed.reshape(1, -1))
      np.testing.assert_array_equal(hidden.reshape(1, -1), expected)


def test_five_billion_entries_can_be_counted():
  scores = {"a": jax.ShapeDtypeStruct((5, 2**30), jnp.float32)}
  hide = jax.jit(lambda s, r: top(s, ratio=r, axis=None))
  text = hide.lower(scores, jnp.float32(0.9)).as_text()
  assert "tensor<i64>" in text
  assert hide.eval_shape(scores, 0.9)["a"].dtype == jnp.bool_
  assert count_of(5 * 2**30, ratio=0.9) == round(0.9 * 5 * 2**30)


@pytest.mark.parametrize(
  ("given", "says"),
  [
    ({"axis": 0}, "axis=-1, the last, or None, all entries together; got 0"),
    ({"scores": {"a": jnp.ones(4)}}, "compete together: give top axis=None"),
    ({"axis": None, "count": 5}, r"must lie in \[0, 4\], got 5"),
    ({"axis": None, "scores": {"a": jnp.ones(4)}, "allowed": {}}, "allowed is no tree like that"),
  ],
)
def test_what_cannot_compete_together_is_refused(given, says):
  with pytest.raises(BadInput, match=says):
    top(**{"scores": jnp.ones(4), "count": 1, **given})


def test_trees_without_entries_hide_nothing():
  assert top({}, ratio=0.5, axis=None) == {}
  assert top({"a": jnp.ones((0, 3))}, count=0, axis=None)["a"].shape == (0, 3)
