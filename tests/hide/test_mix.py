"""Mixing takes each position from one of two examples, and nothing from the other."""

import jax
import jax.numpy as jnp
import numpy as np

from maskjax.hide import mix

X, OTHER = np.random.default_rng(0).normal(size=(2, 3, 5, 2)).astype(np.float32)
HIDDEN = np.random.default_rng(1).random((3, 5)) < 0.5


def test_takes_what_is_hidden_from_the_other():
  both = jax.jit(lambda x, hidden, other: (mix(x, hidden, other), mix(other, ~hidden, x)))
  for got in both(X, HIDDEN, OTHER):
    np.testing.assert_array_equal(got, np.where(HIDDEN[..., None], OTHER, X))


def test_what_is_not_taken_changes_neither_output_nor_gradient():
  @jax.jit
  def mixed_and_slopes(x, other):
    out, pull = jax.vjp(lambda x, other: mix(x, jnp.asarray(HIDDEN), other), x, other)
    return out, *pull(jnp.square(out))

  clean = mixed_and_slopes(X, OTHER)
  nan = np.float32(np.nan)
  spoilt = np.where(HIDDEN[..., None], nan, X), np.where(HIDDEN[..., None], OTHER, nan)
  for a, b in zip(clean, mixed_and_slopes(*spoilt), strict=True):
    np.testing.assert_array_equal(a, b)
