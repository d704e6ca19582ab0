"""Masked reductions against numpy.ma in float64, and what must not leak into them."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import reduce

SHAPE = (3, 4, 2)
# Of the values' shape, fewer axes, or axes of length 1; from all hidden to none.
WHERES = [SHAPE, (4, 2), (2,), (3, 1, 1), (1, 4, 1)]
SHARES = [0.0, 0.3, 0.8, 1.0]
AXES = [None, 0, 1, -1, (0, 2), (0, 1, 2)]
WAYS = [*itertools.product(AXES, (False, True))]
ORACLES = {
  "sum": lambda x, axis, keepdims: x.sum(axis=axis, keepdims=keepdims),
  "mean": lambda x, axis, keepdims: x.mean(axis=axis, keepdims=keepdims),
  "var": lambda x, axis, keepdims: x.var(axis=axis, keepdims=keepdims),
  "count": lambda x, axis, keepdims: x.count(axis=axis, keepdims=keepdims),
}


def masked(x, where):
  return np.ma.array(x.astype(np.float64), mask=~np.broadcast_to(where, x.shape))


def cases():
  """Values, masks and every reduction of them: of one program for each shape of the mask."""
  rng = np.random.default_rng(0)

  @jax.jit
  def every(x, where):
    values = {
      name: [getattr(reduce, name)(x, where, *way) for way in WAYS]
      for name in ("sum", "mean", "var")
    }
    counts = [reduce.count(jnp.broadcast_to(where, x.shape), *way) for way in WAYS]
    softmax = [reduce.softmax(x, where, axis) for axis in (0, 1, -1)]
    return {**values, "count": counts, "softmax": softmax, "term": reduce.term(x, where)}

  for shape, share, _ in itertools.product(WHERES, SHARES, range(3)):
    x, where = rng.normal(size=SHAPE).astype(np.float32), rng.random(shape) < share
    yield x, where, jax.device_get(every(x, where))


@pytest.fixture(scope="module")
def reduced():
  return [*cases()]


@pytest.mark.parametrize("name", ["sum", "mean", "var"])
def test_equals_numpy(name, reduced):
  for x, where, found in reduced:
    for got, way in zip(found[name], WAYS, strict=True):
      expected = np.ma.filled(ORACLES[name](masked(x, where), *way), 0)
      assert got.dtype == jnp.float32
      assert got.shape == expected.shape
      np.testing.assert_allclose(
        got, expected, rtol=1e-5, atol=1e-5, err_msg=f"{where.shape}, {way}"
      )


def test_count_equals_numpy(reduced):
  for x, where, found in reduced:
    for got, way in zip(found["count"], WAYS, strict=True):
      np.testing.assert_array_equal(got, ORACLES["count"](masked(x, where), *way))
      assert got.dtype == jnp.int32
    assert int(found["term"].count) == np.broadcast_to(where, x.shape).sum()


@pytest.mark.parametrize("ddof", [0, 1, 2, 3])
def test_variance_takes_freedom_away_and_is_0_where_none_is_left(ddof):
  x = np.array([[1.0, 5.0, 2.0, 7.0]] * 5, np.float32)
  where = np.arange(4) < np.arange(5)[:, None]
  expected = [
    row[w].var(ddof=ddof) if w.sum() > ddof else 0 for row, w in zip(x, where, strict=True)
  ]
  got = jax.jit(lambda x, where: reduce.var(x, where, axis=-1, ddof=ddof))(x, where)
  np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_softmax_equals_numpy(reduced):
  for x, where, found in reduced:
    weight = np.where(where, np.exp(x.astype(np.float64)), 0)
    for axis, got in zip((0, 1, -1), found["softmax"], strict=True):
      total = weight.sum(axis=axis, keepdims=True)
      expected = weight / np.where(total == 0, 1, total)
      np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


softmax = jax.jit(reduce.softmax)


def test_softmax_of_large_logits():
  x = np.float32([3e38, -3e38, 3e38, np.inf])
  where = np.array([True, True, True, False])
  assert softmax(x, where).tolist() == [0.5, 0.0, 0.5, 0.0]


def test_softmax_shares_everything_among_the_infinite():
  x = np.float32([[1.0, np.inf, np.inf, 9.0], [1.0, np.inf, -np.inf, np.inf]])
  where = jnp.array([True, True, True, False])

  def total(x):
    shares = reduce.softmax(x, where)
    return jnp.sum(shares * jnp.arange(4)), shares

  slope, shares = jax.jit(jax.grad(total, has_aux=True))(x)
  assert shares.tolist() == [[0.0, 0.5, 0.5, 0.0], [0.0, 1.0, 0.0, 0.0]]
  np.testing.assert_array_equal(slope, 0)


REDUCTIONS = {
  "sum": reduce.sum,
  "mean": reduce.mean,
  "var": reduce.var,
  "softmax": reduce.softmax,
  "term": lambda x, where: reduce.term(x, where).sum,
}


@functools.cache
def value_and_slope(name):
  """Takes values and what counts of them; compiled once."""

  def both(x, where):
    out, pull = jax.vjp(lambda x: REDUCTIONS[name](x, where), x)
    rising = 1 + jnp.arange(out.size, dtype=out.dtype).reshape(out.shape)
    return out, pull(rising)[0]

  return jax.jit(both)


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("leak", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("inside", ["some", "none"])
def test_what_does_not_count_reaches_neither_value_nor_gradient(name, leak, inside):
  where = np.array([True, False, True, False]) & (inside == "some")
  x = np.float32([1, 2, 4, 8])
  clean, dirty = (
    jax.device_get(value_and_slope(name)(given, where))
    for given in (x, np.where(where, x, np.float32(leak)))
  )
  for a, b in zip(clean, dirty, strict=True):
    assert np.isfinite(a).all()
    np.testing.assert_array_equal(a, b)
  np.testing.assert_array_equal(clean[1][~where], 0)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "term"])
def test_half_precision_accumulates_in_float32(name):
  x, where = np.full(3000, 1.5, jnp.bfloat16), np.ones(3000, bool)
  x[0] = 2
  take = jax.jit(REDUCTIONS[name])
  got = take(x, where)
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, take(x.astype(np.float32), where), rtol=1e-6)


def test_a_where_that_does_not_fit_the_values_is_refused():
  for name in REDUCTIONS:
    with pytest.raises((ValueError, TypeError)):
      REDUCTIONS[name](jnp.ones(4), jnp.ones((3, 4), bool))
