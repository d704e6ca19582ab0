"""Selection against a stable sort, with every kind of score that floats can hold."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.errors import BadInput
from maskjax.select import count_of, threshold, top

N, ROWS = 7, 3
# Of a program whose arithmetic costs more than its compilation.
OPTIMISED = {"xla_backend_optimization_level": 2}
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
  hidden = np.asarray(by_count(scores, count, allowed))
  np.testing.assert_array_equal(hidden, oracle(scores, count, allowed))
  np.testing.assert_array_equal(hidden.sum(-1), np.minimum(count, allowed.sum(-1)))
  assert not (hidden & ~allowed).any()


STATIC = (0, 1, 4, N)


@jax.jit
def counted_in_three_ways(scores, count):
  """The masks of every static count, of a traced one and of that same one given to each example."""
  each = jnp.full(ROWS, count)
  static = jnp.stack([top(scores, count=c) for c in STATIC])
  return static, top(scores, count=count), top(scores, count=each)


@given(scores, st.sampled_from(STATIC))
@settings(deadline=None, max_examples=10)
def test_a_static_a_traced_and_a_count_per_example_agree(scores, count):
  everywhere = np.ones((ROWS, N), bool)
  static, traced, each = counted_in_three_ways(scores, np.int32(count))
  expected = oracle(scores, [count] * ROWS, everywhere)
  np.testing.assert_array_equal(static[STATIC.index(count)], expected)
  np.testing.assert_array_equal(traced, expected)
  np.testing.assert_array_equal(each, expected)


RATIOS = (0.0, 0.1, 0.25, 0.3, 0.35, 0.5, 0.75, 0.9, 1 / 3, 1.0)
of_no_scores = jax.jit(
  lambda a: {r: top(jnp.zeros((ROWS, N)), ratio=r, allowed=a).sum(-1) for r in RATIOS}
)
rounded = jax.jit(lambda n: {ratio: count_of(n, ratio=ratio) for ratio in RATIOS})
shares_of_few = jax.jit(lambda ratio: count_of(jnp.arange(300), ratio=ratio))
shares_of_many = jax.jit(lambda ratio: count_of(20_000_001, ratio=ratio))


@given(masks)
@few
def test_a_ratio_is_a_rounded_share_of_the_allowed(allowed):
  for ratio, hidden in of_no_scores(allowed).items():
    assert hidden.tolist() == [round(ratio * int(n)) for n in allowed.sum(-1)], ratio


@pytest.mark.parametrize("n", [0, 1, 5, 196, 20_000_001, 2**31 - 1])
@pytest.mark.parametrize("ratio", [r for r in RATIOS if r != 0.25])
def test_traced_numbers_of_positions_round_like_python(n, ratio):
  assert int(rounded(np.int32(n))[ratio]) == round(ratio * n)
  assert count_of(n, ratio=ratio) == round(ratio * n)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.3, 0.35, 0.5, 0.75, 0.9, 1.0])
def test_traced_ratios_round_as_float32_and_stay_exact(ratio):
  narrow = np.float32(ratio)
  expected = np.round(narrow * np.arange(300, dtype=np.float32))
  np.testing.assert_array_equal(shares_of_few(narrow), expected)
  assert int(shares_of_many(narrow)) == round(float(narrow) * 20_000_001)


@pytest.mark.parametrize("n", [49, 196, 2**31 - 1])
def test_what_is_kept_of_a_share_that_is_rounded_up_is_that_of_the_code_of_mae(n):
  ratios = (0.0, 0.15, 0.4, 0.7, 0.75, 0.9, 1.0)
  kept = [n - count_of(n, ratio=ratio, rounding="up") for ratio in ratios]
  assert kept == [int(n * (1 - ratio)) for ratio in ratios]
  traced = jax.jit(lambda n: [n - count_of(n, ratio=r, rounding="up") for r in ratios])
  assert [int(k) for k in traced(np.int32(n))] == kept


def test_a_share_that_moves_is_rounded_up_or_down_as_float32():
  both = jax.jit(lambda r: [count_of(49, ratio=r, rounding=way) for way in ("up", "down")])
  for ratio in np.linspace(0, 1, 99).astype(np.float32):
    wanted = [49 - int(np.float32(49) * (1 - ratio)), int(np.float32(49) * ratio)]
    assert [int(n) for n in both(ratio)] == wanted


def test_ratios_0_and_1():
  scores = np.array([np.nan, -np.inf, 0.0, np.inf], np.float32)
  allowed = np.array([True, False, True, False])
  none, every, those = jax.jit(
    lambda s, a: (top(s, ratio=0.0), top(s, ratio=1.0), top(s, ratio=1.0, allowed=a))
  )(scores, allowed)
  assert not none.any()
  assert every.all()
  assert those.tolist() == allowed.tolist()


by_count_alone = jax.jit(lambda s, c: top(s, count=c))


def test_order_of_unusual_scores():
  # Best first; each is hidden before all that follow. Subnormal numbers are numbers.
  falling = [np.inf, 3e38, 1.0, 3e-45, 1e-45, 0.0, -1e-45, -1.0, -3e38, -np.inf, np.nan]
  n = len(falling)
  hidden = by_count_alone(np.tile(np.float32(falling[::-1]), (n + 1, 1)), np.arange(n + 1))
  assert hidden.tolist() == [[i < count for i in range(n)][::-1] for count in range(n + 1)]


def test_ties_go_to_the_lower_index():
  ties = [[-0.0, 0.0, -0.0, 0.0], [0.0, -0.0, -0.0, -0.0], [np.nan, -np.nan, np.nan, -np.nan]]
  hidden = by_count_alone(np.float32(ties), np.array([2, 1, 1]))
  assert hidden.tolist() == [[i < count for i in range(4)] for count in (2, 1, 1)]
  hidden = by_count_alone(np.ones((8, 7), np.float32), np.arange(8))
  assert hidden.tolist() == [[i < count for i in range(7)] for count in range(8)]


@functools.cache
def small():
  """By size: scores that are a permutation, three counts, and the masks, of one program."""
  given = {}
  for n in (0, 1, 2, 31, 32, 33):
    scores = np.random.default_rng(n).permutation(n).astype(np.float32)
    given[n] = np.tile(scores, (3, 1)), np.array([0, n // 2, n])
  hidden = jax.jit(lambda given: {n: top(s, count=c) for n, (s, c) in given.items()})(given)
  return {n: (*given[n], np.asarray(hidden[n])) for n in given}


@pytest.mark.parametrize("n", [0, 1, 2, 31, 32, 33])
def test_small_sizes(n):
  scores, count, hidden = small()[n]
  assert hidden.shape == (3, n)
  np.testing.assert_array_equal(hidden.sum(-1), count)
  np.testing.assert_array_equal(hidden, scores >= (n - count)[:, None])


def test_as_many_positions_as_float32_cannot_count():
  n, count = 16_800_000, 16_777_217  # float32 cannot count to this one
  scores = np.random.default_rng(0).integers(0, 1000, n).astype(np.float32)
  hidden = np.asarray(jax.jit(lambda s: top(s, count=count), compiler_options=OPTIMISED)(scores))
  assert hidden.sum() == count
  level = np.partition(scores, n - count)[n - count]
  tied = np.flatnonzero(scores == level)
  room = count - (scores > level).sum()
  assert hidden[scores > level].all()
  assert not hidden[scores < level].any()
  assert hidden[tied[:room]].all()
  assert not hidden[tied[room:]].any()


def test_rows_where_nothing_is_allowed_hide_nothing():
  allowed = np.array([[False] * N, [True] * N, [True] + [False] * (N - 1)])
  ways = [({"count": 3}, allowed), ({"ratio": 1.0}, allowed), ({"count": 2}, allowed[1])]
  hide = lambda s: [top(s, **amount, allowed=jnp.asarray(a)).sum(-1) for amount, a in ways]
  numbers = [hidden.tolist() for hidden in jax.jit(hide)(jnp.ones((ROWS, N)))]
  assert numbers == [[0, 3, 1], [0, N, 1], [2, 2, 2]]


def test_an_untraced_count_fixes_the_shape_of_what_is_kept():
  keep = lambda x: jnp.zeros(196 - count_of(196, ratio=0.75)) + x
  assert jax.eval_shape(keep, 1.0).shape == (49,)
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
    ({"ratio": 0.5, "rounding": "upp"}, "unknown rounding 'upp'; did you mean 'up'"),
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


above = jax.jit(lambda s, level, a: threshold(s, above=level, allowed=a))


@given(scores, st.floats(-2, 2, width=32), masks)
@settings(deadline=None, max_examples=30)
def test_threshold_hides_what_lies_above(scores, level, allowed):
  got = above(scores, np.float32(level), allowed)
  # XLA's comparison may take subnormal numbers for zero.
  tiny = np.float32(np.finfo(np.float32).tiny)
  flat = lambda x: np.where(np.abs(x) < tiny, np.float32(0), np.float32(x))
  np.testing.assert_array_equal(got, (flat(scores) > flat(level)) & allowed)


def test_threshold_of_an_example_is_its_own():
  scores = np.tile(np.float32([1, 2, 3]), (3, 1))
  got = jax.jit(lambda s, t: threshold(s, above=t))(scores, np.float32([0, 2, 3]))
  assert got.sum(-1).tolist() == [3, 1, 0]
