"""Scores of weights."""

import jax
import jax.numpy as jnp
import numpy as np

from maskjax.weights import magnitude, random


def test_magnitude_is_high_for_small_weights_in_float32():
  w = jnp.array([[3.0, -4.0], [-0.0, 0.5]], jnp.bfloat16)
  np.testing.assert_array_equal(magnitude(w), -np.abs(np.float32(w)))
  assert magnitude(w).dtype == jnp.float32


def test_random_knows_the_key_and_the_shape_only():
  a, b = (random(w, jax.random.key(0)) for w in (jnp.zeros((3, 4)), jnp.ones((3, 4))))
  np.testing.assert_array_equal(a, b)
  assert len(np.unique(a)) == 12
  assert (a != random(jnp.zeros((3, 4)), jax.random.key(1))).any()
