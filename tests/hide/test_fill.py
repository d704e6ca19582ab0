"""Filling replaces what is hidden, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.hide import fill

X = np.arange(24.0, dtype=np.float32).reshape(2, 4, 3)
HIDDEN = np.array([[True, False, True, False], [False, False, False, True]])


@pytest.mark.parametrize("value", [0.0, np.nan, np.arange(3.0), X[::-1]], ids=str)
def test_puts_the_value_where_hidden(value):
  give = isinstance(value, float)
  put = jax.jit(lambda x, h, v: fill(x, h, value if give else v))
  got = put(X, HIDDEN, np.float32(value))
  np.testing.assert_array_equal(got, np.where(HIDDEN[..., None], value, X))


def test_keeps_the_type_and_takes_leading_axes():
  x, hidden = np.ones((2, 3, 4, 5), jnp.bfloat16), np.zeros((2, 3, 4), bool)
  hidden[1, 2] = True
  got = jax.jit(fill)(x, hidden, np.full(5, 7, np.float32))
  assert got.dtype == x.dtype
  np.testing.assert_array_equal(got, np.where(hidden[..., None], x.dtype.type(7), x))


@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
def test_hidden_content_changes_neither_output_nor_gradient(spoilt):
  token = np.float32([1, 2, 3])

  @jax.jit
  def filled_and_slopes(x):
    out, pull = jax.vjp(lambda x, t: fill(x, jnp.asarray(HIDDEN), t), x, jnp.asarray(token))
    return out, *pull(jnp.square(out))

  clean = jax.device_get(filled_and_slopes(X))
  dirty = jax.device_get(filled_and_slopes(np.where(HIDDEN[..., None], np.float32(spoilt), X)))
  for a, b in zip(clean, dirty, strict=True):
    assert np.isfinite(a).all()
    np.testing.assert_array_equal(a, b)
  np.testing.assert_array_equal(clean[1][HIDDEN], 0)
  np.testing.assert_array_equal(clean[2], 3 * np.square(token))
