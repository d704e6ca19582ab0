"""Masked reductions against numpy.ma in float64, and what must not leak into them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax import reduce

SHAPE = (3, 4, 2)
few = settings(deadline=None, max_examples=40)
arrays = st.integers(0, 2**32 - 1).map(
  lambda seed: np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)
)
# Of the values' shape, fewer axes, or axes of length 1; from all hidden to none.
wheres = st.tuples(
  st.sampled_from([SHAPE, (4, 2), (2,), (3, 1, 1), (1, 4, 1)]),
  st.sampled_from([0.0, 0.3, 0.8, 1.0]),
  st.integers(0, 2**32 - 1),
).map(lambda t: np.random.default_rng(t[2]).random(t[0]) < t[1])
axes = st.sampled_from([None, 0, 1, -1, (0, 2), (0, 1, 2)])
ORACLES = {
  "sum": lambda x, axis, keepdims: x.sum(axis=axis, keepdims=keepdims),
  "mean": lambda x, axis, keepdims: x.mean(axis=axis, keepdims=keepdims),
  "var": lambda x, axis, keepdims: x.var(axis=axis, keepdims=keepdims),
}


def masked(x, where):
  return np.ma.array(x.astype(np.float64), mask=~np.broadcast_to(where, x.shape))


@pytest.mark.parametrize("name", ORACLES)
@given(arrays, wheres, axes, st.booleans())
@few
def test_equals_numpy(name, x, where, axis, keepdims):
  got = getattr(reduce, name)(jnp.asarray(x), jnp.asarray(where), axis, keepdims)
  expected = np.ma.filled(ORACLES[name](masked(x, where), axis, keepdims), 0)
  assert got.dtype == jnp.float32
  assert got.shape == expected.shape
  np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@given(arrays, wheres, axes, st.booleans())
@few
def test_count_equals_numpy(x, where, axis, keepdims):
  where = np.broadcast_to(where, x.shape)
  got = reduce.count(jnp.asarray(where), axis, keepdims)
  np.testing.assert_array_equal(got, where.sum(axis=axis, keepdims=keepdims))
  assert got.dtype == jnp.int32
  whole = reduce.term(jnp.asarray(x), jnp.asarray(where))
  assert int(whole.count) == where.sum()


@pytest.mark.parametrize("ddof", [0, 1, 2, 3])
def test_variance_takes_freedom_away_and_is_0_where_none_is_left(ddof):
  x = np.array([[1.0, 5.0, 2.0, 7.0]] * 5, np.float32)
  where = np.arange(4) < np.arange(5)[:, None]
  expected = [
    row[w].var(ddof=ddof) if w.sum() > ddof else 0 for row, w in zip(x, where, strict=True)
  ]
  got = reduce.var(jnp.asarray(x), jnp.asarray(where), axis=-1, ddof=ddof)
  np.testing.assert_allclose(got, expected, rtol=1e-6)


@given(arrays, wheres, st.sampled_from([0, 1, -1]))
@few
def test_softmax_equals_numpy(x, where, axis):
  weight = np.where(where, np.exp(x.astype(np.float64)), 0)
  total = weight.sum(axis=axis, keepdims=True)
  expected = weight / np.where(total == 0, 1, total)
  got = reduce.softmax(jnp.asarray(x), jnp.asarray(where), axis)
  np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


def test_softmax_of_large_logits():
  x = jnp.array([3e38, -3e38, 3e38, jnp.inf])
  where = jnp.array([True, True, True, False])
  assert reduce.softmax(x, where).tolist() == [0.5, 0.0, 0.5, 0.0]


def test_softmax_shares_everything_among_the_infinite():
  x = jnp.array([[1.0, jnp.inf, jnp.inf, 9.0], [1.0, jnp.inf, -jnp.inf, jnp.inf]])
  where = jnp.array([True, True, True, False])
  assert reduce.softmax(x, where).tolist() == [[0.0, 0.5, 0.5, 0.0], [0.0, 1.0, 0.0, 0.0]]
  slope = jax.grad(lambda x: jnp.sum(reduce.softmax(x, where) * jnp.arange(4)))(x)
  np.testing.assert_array_equal(slope, 0)


REDUCTIONS = {
  "sum": reduce.sum,
  "mean": reduce.mean,
  "var": reduce.var,
  "softmax": reduce.softmax,
  "term": lambda x, where: reduce.term(x, where).sum,
}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("leak", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("inside", ["some", "none"])
def test_what_does_not_count_reaches_neither_value_nor_gradient(name, leak, inside):
  where = jnp.array([True, False, True, False]) & (inside == "some")
  x = jnp.array([1.0, 2.0, 4.0, 8.0])

  def value_and_slope(x):
    out, pull = jax.vjp(lambda x: REDUCTIONS[name](x, where), x)
    return out, pull(jnp.ones_like(out) + jnp.arange(out.size, dtype=out.dtype).reshape(out.shape))[
      0
    ]

  clean, dirty = value_and_slope(x), value_and_slope(jnp.where(where, x, leak))
  for a, b in zip(clean, dirty, strict=True):
    assert np.isfinite(a).all()
    np.testing.assert_array_equal(a, b)
  np.testing.assert_array_equal(clean[1][~where], 0)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "term"])
def test_half_precision_accumulates_in_float32(name):
  x, where = jnp.full(3000, 1.5, jnp.bfloat16).at[0].set(2.0), jnp.ones(3000, bool)
  got = REDUCTIONS[name](x, where)
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, REDUCTIONS[name](x.astype(jnp.float32), where), rtol=1e-6)


def test_a_where_that_does_not_fit_the_values_is_refused():
  for name in REDUCTIONS:
    with pytest.raises((ValueError, TypeError)):
      REDUCTIONS[name](jnp.ones(4), jnp.ones((3, 4), bool))
