"""Mixing takes each position from one of two examples, and nothing from the other."""

import jax
import jax.numpy as jnp
import numpy as np

from maskjax.hide import mix

X, OTHER = np.random.default_rng(0).normal(size=(2, 3, 5, 2)).astype(np.float32)
HIDDEN = np.random.default_rng(1).random((3, 5)) < 0.5


def test_takes_what_is_hidden_from_the_other():
  got = mix(jnp.asarray(X), jnp.asarray(HIDDEN), jnp.asarray(OTHER))
  np.testing.assert_array_equal(got, np.where(HIDDEN[..., None], OTHER, X))
  swapped = mix(jnp.asarray(OTHER), jnp.asarray(~HIDDEN), jnp.asarray(X))
  np.testing.assert_array_equal(got, swapped)


def test_what_is_not_taken_changes_neither_output_nor_gradient():
  def mixed_and_slopes(x, other):
    out, pull = jax.vjp(lambda x, other: mix(x, jnp.asarray(HIDDEN), other), x, other)
    return out, *pull(jnp.square(out))

  clean = mixed_and_slopes(jnp.asarray(X), jnp.asarray(OTHER))
  spoilt = jnp.where(HIDDEN[..., None], jnp.nan, X), jnp.where(HIDDEN[..., None], OTHER, jnp.nan)
  for a, b in zip(clean, mixed_and_slopes(*spoilt), strict=True):
    np.testing.assert_array_equal(a, b)
