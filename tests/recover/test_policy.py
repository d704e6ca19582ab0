"""The gradient of the policy loss, averaged over all draws, is that of the expected reward."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.recover import policy_gradient

LOGITS = jnp.array([0.3, -0.7, 1.1])
REWARD = jnp.array([2.0, -1.0, 0.5])
SHARE = np.exp(np.float64(LOGITS)) / np.exp(np.float64(LOGITS)).sum()
TRUTH = -SHARE * (REWARD - SHARE @ np.float64(REWARD))


def expected_gradient(samples, **options):
  """The exact mean, over every outcome of so many draws, of the gradient of the mean term."""

  @jax.jit
  def slope(drawn):
    def loss(logits):
      term = policy_gradient(jax.nn.log_softmax(logits)[drawn], REWARD[drawn], **options)
      return term.sum / term.count

    return jax.grad(loss)(LOGITS)

  outcomes = [np.array(o) for o in itertools.product(range(3), repeat=samples)]
  return sum(SHARE[o].prod() * np.asarray(slope(o), np.float64) for o in outcomes)


@pytest.mark.parametrize("baseline", [0.0, 1.7, "mean"])
@pytest.mark.parametrize("samples", [1, 3])
def test_is_without_bias(baseline, samples):
  got = expected_gradient(samples, baseline=baseline)
  np.testing.assert_allclose(got, TRUTH, rtol=1e-5, atol=1e-6)


def test_the_reward_has_no_gradient():
  term = lambda r: policy_gradient(jnp.log(jnp.array([0.2, 0.8])), r, baseline="mean").sum
  np.testing.assert_array_equal(jax.jit(jax.grad(term))(np.float32([1, 2])), 0)


def test_what_is_not_asked_reaches_nothing():
  asked = jnp.array([True, False, True])
  log_prob = jnp.log(jnp.array([0.2, 0.5, 0.3]))

  def outcome(leak, baseline):
    hide = lambda x: jnp.where(asked, x, leak)
    term = lambda x: policy_gradient(hide(x), hide(REWARD), asked, baseline=baseline).sum
    return jax.value_and_grad(term)(log_prob)

  for baseline in (0.0, "mean"):
    clean, dirty = map(jax.jit(functools.partial(outcome, baseline=baseline)), (1.0, np.nan))
    jax.tree.map(np.testing.assert_array_equal, clean, dirty)
    assert np.isfinite(dirty[1]).all()
  # Adaptive masking: minus the log probability of the hidden, each by its error.
  term = jax.jit(policy_gradient)(log_prob, REWARD, asked)
  np.testing.assert_allclose(term.sum, -(np.log(0.2) * 2 + np.log(0.3) * 0.5), rtol=1e-6)
  assert term.count == 2


def test_the_mean_is_over_a_mapped_axis():
  log_prob, reward = np.random.default_rng(0).standard_normal((2, 8), np.float32)
  split = lambda x: x.reshape(4, 2)
  term = lambda p, r: policy_gradient(p, r, baseline="mean", axis_name="part")
  mapped = lambda p, r: jax.vmap(term, axis_name="part")(split(p), split(r))
  one = lambda p, r: policy_gradient(p, r, baseline="mean")
  parts, whole = jax.jit(lambda *x: (mapped(*x), one(*x)))(log_prob, reward)
  np.testing.assert_allclose(parts.sum.sum(), whole.sum, rtol=1e-5)


def test_another_word_is_refused():
  with pytest.raises(BadInput, match="did you mean 'mean'"):
    policy_gradient(LOGITS, REWARD, baseline="means")
