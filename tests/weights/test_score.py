"""Scores of weights."""

import jax
import jax.numpy as jnp
import numpy as np

from maskjax.weights import magnitude, random


def test_magnitude_is_high_for_small_weights_in_float32():
  w = np.array([[3.0, -4.0], [-0.0, 0.5]], jnp.bfloat16)
  found = jax.jit(magnitude)(w)
  np.testing.assert_array_equal(found, -np.abs(np.float32(w)))
  assert found.dtype == jnp.float32


def test_random_knows_the_key_and_the_shape_only():
  zeros, ones = np.zeros((3, 4), np.float32), np.ones((3, 4), np.float32)
  draw, key = jax.jit(random), jax.random.key(0)
  a, b, c = draw(zeros, key), draw(ones, key), draw(zeros, jax.random.key(1))
  np.testing.assert_array_equal(a, b)
  assert len(np.unique(a)) == 12
  assert (np.asarray(a) != np.asarray(c)).any()
