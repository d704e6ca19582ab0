"""Logistic regression against scikit-learn's."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from maskjax.train.evaluators.classifier import Fit, axes, fit, predict, scaling


def ours(x, y, l2, classes=3, tolerance=1e-4):
  return along(axes(x), x, y, l2, classes=classes, tolerance=tolerance)


def along(turned, x, y, l2, **options):
  fitted = fit(turned.turn(x), y, turned.power, l2=l2, steps=500, **options)
  if turned.directions is None:
    return fitted
  return fitted._replace(weight=turned.directions @ np.asarray(fitted.weight))


@settings(max_examples=8, deadline=None)
@example(seed=224, l2=1e-3, flips=0.0)
@given(seed=st.integers(0, 10**6), l2=st.sampled_from([1e-3, 1e-2, 1.0]), flips=st.floats(0, 0.5))
def test_same_optimum_as_scikit_learn(seed, l2, flips):
  rng = np.random.default_rng(seed)
  y = np.arange(120) % 3
  x = rng.normal(size=(120, 6)) * 10.0 ** np.arange(-2, 4)
  x[:, 3:] += y[:, None] * 50
  y = np.where(rng.random(120) < flips, rng.integers(0, 3, 120), y).astype(np.int32)
  x = scaling(x.astype(np.float32))(x.astype(np.float32))
  theirs = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-8, max_iter=5000).fit(x, y)
  # Where classes are far apart only the penalty bends the loss: a gradient g is g / l2 away.
  fitted = ours(x, y, l2, tolerance=2e-6)
  assert float(fitted.gradient) <= 2e-6
  np.testing.assert_allclose(fitted.weight.T, theirs.coef_, atol=5e-3, rtol=5e-3)
  logits = x @ fitted.weight + fitted.bias
  probabilities = np.exp(logits - logits.max(1, keepdims=True))
  probabilities /= probabilities.sum(1, keepdims=True)
  np.testing.assert_allclose(probabilities, theirs.predict_proba(x), atol=1e-3)
  assert (np.asarray(predict(fitted, x)) == theirs.predict(x)).mean() > 0.98
  entropy = -np.log(theirs.predict_proba(x)[np.arange(120), y]).mean()
  assert float(fitted.loss) == pytest.approx(
    entropy + 0.5 * l2 * np.square(theirs.coef_).sum(), abs=1e-4
  )


def test_axes_only_set_the_speed(blobs):
  x, y = blobs["train"]
  x = scaling(x)(x)
  plain = fit(x, y, np.ones(5, np.float32), classes=3, l2=0.01, steps=500, tolerance=1e-4)
  np.testing.assert_allclose(plain.weight, ours(x, y, 0.01).weight, atol=2e-3)


def test_more_features_than_examples_have_the_optimum_in_the_span_of_the_examples():
  rng = np.random.default_rng(0)
  y = np.arange(40, dtype=np.int32) % 3
  x = rng.normal(size=(40, 70)).astype(np.float32) + y[:, None]
  x = scaling(x)(x)
  turned = axes(x)
  # One direction less than examples, since these are centred; 70,000 would not fit otherwise.
  assert turned.directions.shape == (70, 39)
  np.testing.assert_allclose(turned.directions.T @ turned.directions, np.eye(39), atol=1e-4)
  fitted = along(turned, x, y, 1e-2, classes=3, tolerance=1e-4)
  theirs = LogisticRegression(C=1 / (1e-2 * 40), tol=1e-8, max_iter=5000).fit(x, y)
  np.testing.assert_allclose(np.asarray(fitted.weight).T, theirs.coef_, atol=2e-3)
  # Too many of both to be turned: the same optimum.
  plain = along(axes(x, most=39), x, y, 1e-2, classes=3, tolerance=1e-4)
  np.testing.assert_allclose(plain.weight, fitted.weight, atol=2e-3)
  constant = axes(np.zeros((3, 5), np.float32))
  assert np.isfinite(constant.directions).all()


def test_scaling():
  x = np.random.default_rng(0).normal(3.0, 2.0, size=(50, 4)).astype(np.float32)
  x[:, 1] = 0.1  # no power of two: its f32 mean is not exactly itself
  scaled = scaling(x)(x)
  varying = [0, 2, 3]
  np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-6)
  np.testing.assert_allclose(scaled.std(0)[varying], 1, atol=1e-5)
  assert not scaled[:, 1].any()
  np.testing.assert_allclose(
    scaling(x, standardize=False)(x)[:, varying], (x - x.mean(0))[:, varying], atol=1e-5
  )


def test_ties_go_to_the_lower_class():
  flat = Fit(jnp.zeros((2, 3)), jnp.zeros(3), *[jnp.float32(0)] * 3)
  assert predict(flat, jnp.ones((4, 2))).tolist() == [0, 0, 0, 0]
