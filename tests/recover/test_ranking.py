"""The loss of an order, against a loop over all pairs and the authors' code."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from maskjax.recover import pairwise_ranking

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "hpm.safetensors"


def draws(seed=0, shape=(3, 7)):
  predicted, reward, asked = jax.random.split(jax.random.key(seed), 3)
  reward = jnp.round(2 * jax.random.normal(reward, shape)) / 2  # some tie
  asked = jax.random.bernoulli(asked, 0.7, shape)
  return jax.random.normal(predicted, shape), reward, asked


def by_a_loop(predicted, reward, asked):
  """Sum and count over the pairs of each example."""
  total = count = 0
  for p, r, a in zip(*(np.asarray(x) for x in (predicted, reward, asked)), strict=True):
    for i in np.flatnonzero(a):
      for j in np.flatnonzero(a):
        if r[i] > r[j]:
          total += np.log1p(np.exp(-(np.float64(p[i]) - p[j])))
          count += 1
  return total, count


@pytest.mark.parametrize("seed", range(3))
def test_equals_a_loop_over_pairs(seed):
  given = draws(seed)
  term = pairwise_ranking(*given)
  total, count = by_a_loop(*given)
  assert int(term.count) == count > 0
  np.testing.assert_allclose(term.sum, total, rtol=1e-5)


def test_only_the_order_of_the_rewards_enters():
  predicted, reward, asked = draws()
  term = pairwise_ranking(predicted, reward, asked)
  other = pairwise_ranking(predicted, jnp.exp(3 * reward) - 50, asked)
  np.testing.assert_array_equal(term.sum, other.sum)
  slope = jax.grad(lambda r: pairwise_ranking(predicted, r, asked).sum)(reward)
  np.testing.assert_array_equal(slope, 0)


def test_descending_it_sorts():
  _, reward, asked = draws()
  asked = jnp.ones_like(asked)
  predicted = jnp.zeros(reward.shape)
  slope = jax.jit(jax.grad(lambda p: pairwise_ranking(p, reward, asked).sum))
  for _ in range(200):
    predicted -= 0.1 * slope(predicted)
  for p, r in zip(np.asarray(predicted), np.asarray(reward), strict=True):
    gap, wanted = p[:, None] - p, r[:, None] - r
    assert (gap[wanted > 0] > 0).all()


def test_what_is_not_asked_reaches_nothing():
  predicted, reward, asked = draws()

  def outcome(leak):
    hide = lambda x: jnp.where(asked, x, leak)
    term = lambda p: pairwise_ranking(hide(p), hide(reward), asked).sum
    return jax.value_and_grad(term)(predicted)

  clean, spoilt = outcome(1.0), outcome(jnp.nan)
  jax.tree.map(np.testing.assert_array_equal, clean, spoilt)
  assert np.isfinite(spoilt[1]).all()


def test_extremes_are_finite():
  far = jnp.array([1e4, -1e4])
  for reward in (far, -far):
    term = lambda p, r=reward: pairwise_ranking(p, r, jnp.array([True, True])).sum
    value, slope = jax.value_and_grad(term)(far)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
  none = pairwise_ranking(far, far, jnp.array([True, False]))
  assert (float(none.sum), int(none.count)) == (0.0, 0)


def test_equals_the_authors_code():
  stored = load_file(GOLDEN)
  guess, target = (jnp.asarray(stored[f"golden.{name}"]) for name in ("predicted", "target"))
  mean = lambda p: (t := pairwise_ranking(p, target, jnp.ones(p.shape, bool))).sum / t.count
  value, slope = jax.value_and_grad(mean)(guess)
  # Which adds 1e-6 inside its logarithms.
  np.testing.assert_allclose(value, stored["golden.ranked"], rtol=2e-5)
  np.testing.assert_allclose(slope, stored["golden.slope"], atol=2e-5)
