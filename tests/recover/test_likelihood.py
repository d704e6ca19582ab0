"""Cross-entropy and the diffusion bound against numpy in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from maskjax import recover

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((2, 5, 7), np.float32) * 3
TARGET = RNG.integers(0, 7, (2, 5), np.int32)
ASKED = np.array([[True, False, True, True, False], [False] * 5])
entropy = jax.jit(recover.cross_entropy)


def nats():
  """-log p of every target."""
  logs = log_softmax(np.asarray(LOGITS, np.float64), axis=-1)
  return -np.take_along_axis(logs, np.asarray(TARGET)[..., None], -1)[..., 0]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_is_that_of_the_smoothed_target(smoothing):
  logs = log_softmax(np.asarray(LOGITS, np.float64), axis=-1)
  expected = (1 - smoothing) * nats() + smoothing * -logs.mean(-1)
  smooth = functools.partial(recover.cross_entropy, smoothing=smoothing)
  got = jax.jit(smooth)(LOGITS, TARGET, ASKED)
  np.testing.assert_allclose(got.sum, expected[np.asarray(ASKED)].sum(), rtol=1e-5)
  assert int(got.count) == 3


def test_shares_of_classes_cost_their_mean():
  share = RNG.random((2, 5, 1), np.float32)
  other = (TARGET + 3) % 7
  row = np.eye(7, dtype=np.float32)
  target = (1 - share) * row[TARGET] + share * row[other]

  @jax.jit
  def costs(logits, labels, other, target, asked):
    cost = [recover.nll(logits, x, asked) for x in (target, labels, other)]
    smooth = recover.cross_entropy(logits, labels, asked, smoothing=0.2).sum
    spread = 0.8 * jax.nn.one_hot(labels, 7) + 0.2 / 7
    return cost, smooth, recover.cross_entropy(logits, spread, asked).sum

  (got, one, two), smooth, spread = costs(LOGITS, TARGET, other, target, ASKED)
  np.testing.assert_allclose(got, (1 - share[..., 0]) * one + share[..., 0] * two, rtol=1e-5)
  np.testing.assert_allclose(spread, smooth, rtol=1e-5)


def test_a_class_of_no_share_may_be_impossible_and_what_is_not_asked_anything():
  target = jnp.array([[0.5, 0.5, 0.0], [jnp.nan, 1.0, 0.0]])
  logits = jnp.array([[0.0, 0.0, -jnp.inf], [jnp.nan, jnp.inf, 0.0]])
  loss = lambda x: recover.cross_entropy(x, target, jnp.array([True, False])).sum
  value, slope = jax.jit(jax.value_and_grad(loss))(logits)
  np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
  np.testing.assert_allclose(slope, np.zeros((2, 3)), atol=1e-6)


def test_the_bound_weighs_examples_and_counts_every_valid_token():
  weight, valid = np.float32([2, 5]), np.arange(5) < np.array([[4], [5]])
  got = jax.jit(recover.elbo)(LOGITS, TARGET, ASKED, weight=weight, valid=valid)
  np.testing.assert_allclose(got.sum, 2 * nats()[0][ASKED[0]].sum(), rtol=1e-5)
  assert int(got.count) == 9


def test_what_is_not_asked_reaches_neither_value_nor_gradient():
  bad = np.where(ASKED[..., None], LOGITS, np.float32(np.nan))
  wild = np.where(ASKED, TARGET, np.int32(10**6))
  asked = jnp.asarray(ASKED)
  loss = lambda x, t: recover.cross_entropy(x, t, asked, smoothing=0.1).sum
  both = jax.jit(jax.value_and_grad(loss))
  value, slope = both(bad, wild)
  clean_value, clean_slope = both(LOGITS, TARGET)
  assert value == clean_value
  np.testing.assert_array_equal(slope, clean_slope)


def test_low_precision_logits_are_summed_in_float32():
  logits = np.zeros((1, 30_000), jnp.bfloat16)
  got = entropy(logits, np.array([3]), np.array([True])).sum
  np.testing.assert_allclose(got, np.log(30_000), rtol=1e-6)
