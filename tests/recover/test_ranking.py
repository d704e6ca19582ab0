"""The loss of an order, against a loop over all pairs and the authors' code."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from maskjax.recover import pairwise_ranking

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "hpm.safetensors"


term_of = jax.jit(pairwise_ranking)
slopes = jax.jit(jax.value_and_grad(lambda p, r, asked: pairwise_ranking(p, r, asked).sum, (0, 1)))


def draws(seed=0, shape=(3, 7)):
  rng = np.random.default_rng(seed)
  reward = np.round(2 * rng.standard_normal(shape, np.float32)) / 2  # some tie
  return rng.standard_normal(shape, np.float32), reward, rng.random(shape) < 0.7


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
  term = term_of(*given)
  total, count = by_a_loop(*given)
  assert int(term.count) == count > 0
  np.testing.assert_allclose(term.sum, total, rtol=1e-5)


def test_only_the_order_of_the_rewards_enters():
  predicted, reward, asked = draws()
  value, (_, slope) = slopes(predicted, reward, asked)
  other, _ = slopes(predicted, np.exp(3 * reward) - 50, asked)
  np.testing.assert_array_equal(value, other)
  np.testing.assert_array_equal(slope, 0)


def test_descending_it_sorts():
  _, reward, asked = draws()
  asked = np.ones_like(asked)
  predicted = np.zeros(reward.shape, np.float32)
  for _ in range(200):
    predicted -= np.float32(0.1) * np.asarray(slopes(predicted, reward, asked)[1][0])
  for p, r in zip(predicted, reward, strict=True):
    gap, wanted = p[:, None] - p, r[:, None] - r
    assert (gap[wanted > 0] > 0).all()


def test_what_is_not_asked_reaches_nothing():
  predicted, reward, asked = draws()

  def outcome(leak):
    hide = lambda x: jnp.where(asked, x, leak)
    term = lambda p: pairwise_ranking(hide(p), hide(reward), jnp.asarray(asked)).sum
    return jax.value_and_grad(term)(predicted)

  clean, spoilt = map(jax.jit(outcome), (1.0, np.nan))
  jax.tree.map(np.testing.assert_array_equal, clean, spoilt)
  assert np.isfinite(spoilt[1]).all()


def test_extremes_are_finite():
  far = np.float32([1e4, -1e4])
  for reward in (far, -far):
    value, (slope, _) = slopes(far, reward, np.array([True, True]))
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
  none = term_of(far, far, np.array([True, False]))
  assert (float(none.sum), int(none.count)) == (0.0, 0)


def test_equals_the_authors_code():
  stored = load_file(GOLDEN)
  guess, target = (stored[f"golden.{name}"] for name in ("predicted", "target"))
  mean = lambda p, r: (t := pairwise_ranking(p, r, jnp.ones(p.shape, bool))).sum / t.count
  value, slope = jax.jit(jax.value_and_grad(mean))(guess, target)
  # Which adds 1e-6 inside its logarithms.
  np.testing.assert_allclose(value, stored["golden.ranked"], rtol=2e-5)
  np.testing.assert_allclose(slope, stored["golden.slope"], atol=2e-5)
