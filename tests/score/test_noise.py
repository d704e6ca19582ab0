"""White noise: uniform, and each example's own."""

import jax
import jax.numpy as jnp
import numpy as np

from maskjax.keys import keys
from maskjax.score import white

KEY = jax.random.key(0)


def test_the_same_key_gives_the_same_bits_and_another_gives_others():
  a, b = (white(keys(jax.random.key(seed), 16), (4, 4)) for seed in (0, 1))
  np.testing.assert_array_equal(a, white(keys(KEY, 16), (4, 4)))
  assert not (a == b).any()
  assert len(np.unique(np.concatenate([a, b]), axis=0)) == 32


def test_a_part_of_the_batch_draws_what_the_whole_draws_for_it():
  whole = white(keys(KEY, 8), (3, 5))
  np.testing.assert_array_equal(white(keys(KEY, jnp.arange(4, 8)), (3, 5)), whole[4:])
  np.testing.assert_array_equal(white(keys(KEY, 8)[2], (3, 5)), whole[2])


def test_any_number_of_axes_and_float32():
  for grid in ((6,), (2, 3), (1, 2, 3)):
    drawn = white(keys(KEY, jnp.arange(8).reshape(2, 4)), grid)
    assert drawn.shape == (2, 4, 6)
    assert drawn.dtype == jnp.float32


def test_is_uniform():
  drawn = np.asarray(white(keys(KEY, 2000), (10,)))
  assert drawn.min() >= 0
  assert drawn.max() < 1
  counts = np.histogram(drawn, bins=20, range=(0, 1))[0]
  expected = drawn.size / 20
  # 0.1 % point of chi-square with 19 degrees of freedom.
  assert ((counts - expected) ** 2 / expected).sum() < 43.8
