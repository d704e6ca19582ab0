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
  value = value if isinstance(value, float) else jnp.asarray(value, jnp.float32)
  got = fill(jnp.asarray(X), jnp.asarray(HIDDEN), value)
  np.testing.assert_array_equal(got, np.where(HIDDEN[..., None], value, X))


def test_keeps_the_type_and_takes_leading_axes():
  x = jnp.ones((2, 3, 4, 5), jnp.bfloat16)
  hidden = jnp.zeros((2, 3, 4), bool).at[1, 2].set(True)
  got = fill(x, hidden, jnp.full(5, 7.0))
  assert got.dtype == x.dtype
  np.testing.assert_array_equal(got, jnp.where(hidden[..., None], 7, x))


@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
def test_hidden_content_changes_neither_output_nor_gradient(spoilt):
  token = jnp.array([1.0, 2.0, 3.0])

  def filled_and_slopes(x):
    out, pull = jax.vjp(lambda x, token: fill(x, jnp.asarray(HIDDEN), token), x, token)
    return out, *pull(jnp.square(out))

  clean = filled_and_slopes(jnp.asarray(X))
  dirty = filled_and_slopes(jnp.where(HIDDEN[..., None], spoilt, X))
  for a, b in zip(clean, dirty, strict=True):
    assert np.isfinite(a).all()
    np.testing.assert_array_equal(a, b)
  np.testing.assert_array_equal(clean[1][HIDDEN], 0)
  np.testing.assert_array_equal(clean[2], 3 * jnp.square(token))
