"""White noise: uniform, and each example's own."""

import jax
import jax.numpy as jnp
import numpy as np

from maskjax.keys import keys
from maskjax.score import uniform

KEY = jax.random.key(0)
draw = jax.jit(lambda key, positions, grid: uniform(keys(key, positions), grid), static_argnums=2)


def test_the_same_key_gives_the_same_bits_and_another_gives_others():
  a, again, b = (np.asarray(draw(jax.random.key(i), np.arange(16), (4, 4))) for i in (0, 0, 1))
  np.testing.assert_array_equal(a, again)
  assert not (a == b).any()
  assert len(np.unique(np.concatenate([a, b]), axis=0)) == 32


def test_a_part_of_the_batch_draws_what_the_whole_draws_for_it():
  both = lambda key: (draw(key, jnp.arange(8), (3, 5)), uniform(keys(key, 8)[2], (3, 5)))
  whole, alone = jax.jit(both)(KEY)
  np.testing.assert_array_equal(draw(KEY, np.arange(4, 8), (3, 5)), whole[4:])
  np.testing.assert_array_equal(alone, whole[2])


def test_any_number_of_axes_and_float32():
  for grid in ((6,), (2, 3), (1, 2, 3)):
    drawn = jax.eval_shape(lambda key, g=grid: draw(key, jnp.arange(8).reshape(2, 4), g), KEY)
    assert drawn.shape == (2, 4, 6)
    assert drawn.dtype == jnp.float32


def test_is_uniform():
  drawn = np.asarray(draw(KEY, np.arange(2000), (10,)))
  assert drawn.min() >= 0
  assert drawn.max() < 1
  counts = np.histogram(drawn, bins=20, range=(0, 1))[0]
  expected = drawn.size / 20
  # 0.1 % point of chi-square with 19 degrees of freedom.
  assert ((counts - expected) ** 2 / expected).sum() < 43.8
