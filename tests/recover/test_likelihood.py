"""Cross-entropy and the diffusion bound against numpy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from maskjax import recover

LOGITS = jax.random.normal(jax.random.key(0), (2, 5, 7)) * 3
TARGET = jax.random.randint(jax.random.key(1), (2, 5), 0, 7)
ASKED = jnp.array([[True, False, True, True, False], [False] * 5])


def nats():
  """-log p of every target."""
  logs = log_softmax(np.asarray(LOGITS, np.float64), axis=-1)
  return -np.take_along_axis(logs, np.asarray(TARGET)[..., None], -1)[..., 0]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_is_that_of_the_smoothed_target(smoothing):
  logs = log_softmax(np.asarray(LOGITS, np.float64), axis=-1)
  expected = (1 - smoothing) * nats() + smoothing * -logs.mean(-1)
  got = recover.cross_entropy(LOGITS, TARGET, ASKED, smoothing=smoothing)
  np.testing.assert_allclose(got.sum, expected[np.asarray(ASKED)].sum(), rtol=1e-5)
  assert int(got.count) == 3


def test_shares_of_classes_cost_their_mean():
  share = jax.random.uniform(jax.random.key(2), (2, 5, 1))
  other = (TARGET + 3) % 7
  target = (1 - share) * jax.nn.one_hot(TARGET, 7) + share * jax.nn.one_hot(other, 7)
  got = recover.surprise(LOGITS, target, ASKED)
  one, two = (recover.surprise(LOGITS, label, ASKED) for label in (TARGET, other))
  np.testing.assert_allclose(got, (1 - share[..., 0]) * one + share[..., 0] * two, rtol=1e-5)
  smooth = recover.cross_entropy(LOGITS, TARGET, ASKED, smoothing=0.2).sum
  spread = 0.8 * jax.nn.one_hot(TARGET, 7) + 0.2 / 7
  np.testing.assert_allclose(recover.cross_entropy(LOGITS, spread, ASKED).sum, smooth, rtol=1e-5)


def test_a_class_of_no_share_may_be_impossible_and_what_is_not_asked_anything():
  target = jnp.array([[0.5, 0.5, 0.0], [jnp.nan, 1.0, 0.0]])
  logits = jnp.array([[0.0, 0.0, -jnp.inf], [jnp.nan, jnp.inf, 0.0]])
  loss = lambda x: recover.cross_entropy(x, target, jnp.array([True, False])).sum
  value, slope = jax.value_and_grad(loss)(logits)
  np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
  np.testing.assert_allclose(slope, np.zeros((2, 3)), atol=1e-6)


def test_the_bound_weighs_examples_and_counts_every_valid_token():
  weight, valid = jnp.array([2.0, 5.0]), jnp.arange(5) < jnp.array([[4], [5]])
  got = recover.elbo(LOGITS, TARGET, ASKED, weight=weight, valid=valid)
  np.testing.assert_allclose(got.sum, 2 * nats()[0][np.asarray(ASKED[0])].sum(), rtol=1e-5)
  assert int(got.count) == 9


def test_what_is_not_asked_reaches_neither_value_nor_gradient():
  bad = jnp.where(ASKED[..., None], LOGITS, jnp.nan)
  wild = jnp.where(ASKED, TARGET, 10**6)
  loss = lambda x, t: recover.cross_entropy(x, t, ASKED, smoothing=0.1).sum
  value, slope = jax.value_and_grad(loss)(bad, wild)
  clean_value, clean_slope = jax.value_and_grad(loss)(LOGITS, TARGET)
  assert value == clean_value
  np.testing.assert_array_equal(slope, clean_slope)


def test_low_precision_logits_are_summed_in_float32():
  logits = jnp.zeros((1, 30_000), jnp.bfloat16)
  got = recover.cross_entropy(logits, jnp.array([3]), jnp.array([True])).sum
  np.testing.assert_allclose(got, np.log(30_000), rtol=1e-6)
