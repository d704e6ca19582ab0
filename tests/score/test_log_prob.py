"""The log-probability of masks against numpy, its gradient against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.score import log_prob

RANDOM = np.random.default_rng(0)
SCORES = RANDOM.normal(size=(5, 6)).astype(np.float32)
HIDDEN = RANDOM.random((5, 6)) < 0.5
WHERE = RANDOM.random((5, 6)) < 0.7
WHERE[3], HIDDEN[4] = False, False


compiled = jax.jit(log_prob)


def oracle(scores, hidden, where):
  total = np.zeros(len(scores))
  for i, (s, h, w) in enumerate(zip(scores.astype(np.float64), hidden, where, strict=True)):
    if w.any():
      total[i] = (s - np.log(np.exp(s[w]).sum()))[h & w].sum()
  return total


def test_is_the_sum_of_log_softmax_over_what_is_hidden():
  got = compiled(SCORES, HIDDEN, WHERE)
  np.testing.assert_allclose(got, oracle(SCORES, HIDDEN, WHERE), rtol=1e-5, atol=1e-6)
  got = compiled(SCORES, HIDDEN)
  np.testing.assert_allclose(got, oracle(SCORES, HIDDEN, WHERE | True), rtol=1e-5)
  assert got.dtype == jnp.float32


def test_gradient_equals_finite_differences():
  weight = np.arange(1.0, 6.0)
  loss = lambda s: jnp.sum(weight * log_prob(s, jnp.asarray(HIDDEN), jnp.asarray(WHERE)))
  gradient = np.asarray(jax.jit(jax.grad(loss))(SCORES))
  for index in np.ndindex(SCORES.shape):
    step = np.zeros(SCORES.shape)
    step[index] = 1e-5
    ends = [(weight * oracle(SCORES + sign * step, HIDDEN, WHERE)).sum() for sign in (1, -1)]
    np.testing.assert_allclose(gradient[index], (ends[0] - ends[1]) / 2e-5, rtol=1e-3, atol=1e-4)


total = jax.jit(jax.value_and_grad(lambda s, hidden, where: log_prob(s, hidden, where).sum()))


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_does_not_count_reaches_nothing(odd):
  scores = np.where(WHERE, SCORES, np.float32(odd))
  found = jax.device_get(total(scores, HIDDEN, WHERE))
  for got, expected in zip(found, total(SCORES, HIDDEN, WHERE), strict=True):
    np.testing.assert_array_equal(got, expected)
  assert not found[1][~WHERE].any()


def test_is_as_exact_far_from_zero():
  near = np.round(SCORES * 8) / 8
  np.testing.assert_allclose(compiled(near + 4096, HIDDEN), compiled(near, HIDDEN), atol=1e-2)


def test_nothing_hidden_is_certain_and_the_impossible_impossible():
  scores = np.float32([[0, 0], [0, -np.inf], [0, -np.inf]])
  hidden = np.array([[False, False], [True, False], [False, True]])
  assert compiled(scores, hidden).tolist() == [0, 0, -np.inf]


def test_masks_that_are_not_bool_are_refused():
  for masks in ((jnp.array([1, 0]),), (jnp.array([True, False]), jnp.array([1, 1]))):
    with pytest.raises(TypeError):
      log_prob(jnp.zeros(2), *masks)
