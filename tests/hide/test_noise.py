"""Content fades into noise where it is hidden, by a share of its variance."""

import jax
import jax.numpy as jnp
import numpy as np

from maskjax import hide, keys

HIDDEN = np.arange(6) % 2 == 0
KEY = jax.random.key(0)


def test_what_is_left_and_what_is_added_are_alpha_and_the_rest():
  alpha = np.float32([1.0, 0.7, 0.2, 0.0])

  @jax.jit
  def fade(key, alpha):
    hidden = jnp.broadcast_to(HIDDEN, (4, 6))
    return hide.noise(jnp.ones((4, 6, 5000)), hidden, keys(key, 4), alpha=alpha)

  faded = np.asarray(fade(KEY, alpha))
  np.testing.assert_array_equal(faded[:, 1::2], 1)
  np.testing.assert_array_equal(faded[0], 1)
  there = faded[:, ::2].reshape(4, -1)
  # Of 15,000 draws.
  np.testing.assert_allclose(there.mean(-1), np.sqrt(alpha), atol=4 / np.sqrt(15_000))
  np.testing.assert_allclose(there.var(-1), 1 - alpha, atol=4 * np.sqrt(2 / 15_000))


def test_noise_of_the_contents_deviation_keeps_its_mean_square():
  x = jnp.asarray(3 * np.random.default_rng(0).standard_normal((6, 5000), np.float32))
  every = jnp.ones(6, bool)
  fade = jax.jit(lambda alpha: hide.noise(x, every, KEY, alpha=alpha, deviation=3.0))
  for alpha in (0.9, 0.5, 0.0):
    np.testing.assert_allclose(np.square(fade(alpha)).mean(), 9, rtol=0.04)


def test_at_zero_nothing_is_left_not_in_gradients_either():
  one = lambda x: hide.noise(x, jnp.asarray(HIDDEN), KEY, alpha=0.0)
  total = lambda x: (jnp.square(y := one(x)).sum(), y)
  both = jax.jit(jax.grad(total, has_aux=True))
  slope, got = jax.device_get(both(np.ones((6, 3), np.float32)))
  _, other = jax.device_get(both(np.full((6, 3), 5, np.float32)))
  np.testing.assert_array_equal(got[HIDDEN], other[HIDDEN])
  np.testing.assert_array_equal(slope[HIDDEN], 0)
  assert (slope[~HIDDEN] != 0).all()


def test_each_example_has_noise_of_its_own():
  zeros, every = jnp.zeros((2, 6, 3)), jnp.ones((2, 6), bool)
  drawn = jax.jit(lambda key: hide.noise(zeros, every, keys(key, 2), alpha=0.5))(KEY)
  assert len(np.unique(np.asarray(drawn))) == drawn.size
