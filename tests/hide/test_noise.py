"""Content fades into noise where it is hidden, by a share of its variance."""

import jax
import jax.numpy as jnp
import numpy as np

from maskjax import hide, keys

HIDDEN = jnp.arange(6) % 2 == 0


def test_what_is_left_and_what_is_added_are_alpha_and_the_rest():
  x = jnp.ones((4, 6, 5000))
  alpha = jnp.array([1.0, 0.7, 0.2, 0.0])
  hidden = jnp.broadcast_to(HIDDEN, (4, 6))
  faded = np.asarray(hide.noise(x, hidden, keys(jax.random.key(0), 4), alpha=alpha))
  np.testing.assert_array_equal(faded[:, 1::2], 1)
  np.testing.assert_array_equal(faded[0], 1)
  there = faded[:, ::2].reshape(4, -1)
  # Of 15,000 draws.
  np.testing.assert_allclose(there.mean(-1), np.sqrt(alpha), atol=4 / np.sqrt(15_000))
  np.testing.assert_allclose(there.var(-1), 1 - alpha, atol=4 * np.sqrt(2 / 15_000))


def test_at_zero_nothing_is_left_not_in_gradients_either():
  one = lambda x: hide.noise(x, HIDDEN, jax.random.key(0), alpha=0.0)
  x, other = jnp.ones((6, 3)), jnp.full((6, 3), 5.0)
  np.testing.assert_array_equal(one(x)[HIDDEN], one(other)[HIDDEN])
  slope = jax.grad(lambda x: jnp.square(one(x)).sum())(x)
  np.testing.assert_array_equal(slope[HIDDEN], 0)
  assert (slope[~HIDDEN] != 0).all()


def test_each_example_has_noise_of_its_own():
  x = jnp.zeros((2, 6, 3))
  drawn = hide.noise(x, jnp.ones((2, 6), bool), keys(jax.random.key(0), 2), alpha=0.5)
  assert len(np.unique(np.asarray(drawn))) == drawn.size
