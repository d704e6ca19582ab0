"""Rank correlations against scipy, and the evaluator on a stand-in that knows its losses."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from maskjax.errors import BadInput
from maskjax.train.evaluators import predicted_loss
from maskjax.train.evaluators.predicted_loss import spearman
from maskjax.train.mesh.mesh import make_mesh


def test_equals_scipy_with_ties_and_gaps():
  rng = np.random.default_rng(0)
  a, b = rng.integers(0, 5, (2, 20, 12)).astype(float)
  b[rng.random(b.shape) < 0.3] = np.nan
  expected = [stats.spearmanr(x[g], y[g])[0] for x, y in zip(a, b, strict=True) if any(g := y == y)]
  np.testing.assert_allclose(spearman(a, b), expected, rtol=1e-12)
  assert np.isnan(spearman(np.ones((2, 3)), np.array([[1.0, 2, 3], [np.nan] * 3]))).all()


def views(variables, batch, key):
  """Losses that are the image; foreseen in order, guessed in the opposite one."""
  loss = batch["image"]
  return {"loss": loss, "predicted_loss": jnp.exp(loss), "predicted_loss_masked": -loss}


def context(views, size=5, batch_size=4):
  """Five examples in batches of four, of which padding would spoil the mean."""
  x = np.random.default_rng(0).normal(size=(size, 2, 3)).astype(np.float32)

  def examples(split, batch_size):
    for start in range(0, size, batch_size):
      part = x[start : start + batch_size]
      short = batch_size - len(part)
      image = np.pad(part, ((0, short), (0, 0), (0, 0)), constant_values=7.0)
      yield {"image": image, "valid": np.arange(batch_size) < len(part)}

  task = types.SimpleNamespace(answers={"views": views})
  key, mesh = jax.random.key(0), make_mesh(None)
  return types.SimpleNamespace(task=task, variables={}, key=key, mesh=mesh, examples=examples)


def test_every_valid_image_counts_once():
  found = predicted_loss(context(views), batch_size=4)
  assert found == {"shown": pytest.approx(1), "hidden": pytest.approx(-1)}


def test_refuses_what_it_cannot_compare():
  with pytest.raises(BadInput, match=r"predicts no losses: set model\.decoder\.loss_depth"):
    predicted_loss(context(lambda *_: {}), batch_size=4)
  constant = lambda *given: {**views(*given), "loss": jnp.ones((4, 2, 3))}
  with pytest.raises(BadInput, match="two losses that differ"):
    predicted_loss(context(constant), batch_size=4)
