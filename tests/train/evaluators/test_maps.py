"""Rank correlations against scipy, and statistics of the maps of a stand-in that knows them."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from maskjax.errors import BadInput
from maskjax.train.evaluators.maps import correlation, mean, spearman
from maskjax.train.mesh.mesh import make_mesh


def test_equals_scipy_with_ties_and_gaps():
  rng = np.random.default_rng(0)
  a, b = rng.integers(0, 5, (2, 20, 12)).astype(float)
  b[rng.random(b.shape) < 0.3] = np.nan
  expected = [stats.spearmanr(x[g], y[g])[0] for x, y in zip(a, b, strict=True) if any(g := y == y)]
  np.testing.assert_allclose(spearman(a, b), expected, rtol=1e-12)
  assert np.isnan(spearman(np.ones((2, 3)), np.array([[1.0, 2, 3], [np.nan] * 3]))).all()


def views(variables, batch, key):
  """Losses that are the image; one map in their order, one in the opposite, a mask, labels."""
  loss = batch["image"]
  maps = {"same": jnp.exp(loss), "opposite": -loss, "high": loss > 0, "row": _rows(loss)}
  return {"loss": loss, "gaps": jnp.where(loss > 0, loss, jnp.nan), **maps}


def _rows(x):
  return jnp.broadcast_to(jnp.arange(2)[:, None], x.shape)


RANKS = {"shown": ("same", "loss"), "hidden": ("opposite", "loss")}
IMAGES = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)


def context(views, size=5, batch_size=4):
  """Five examples in batches of four, of which padding would spoil the mean."""
  x = IMAGES[:size]

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
  found = correlation(context(views), of=RANKS, batch_size=4)
  assert found == {"shown": pytest.approx(1), "hidden": pytest.approx(-1)}


def test_refuses_what_it_cannot_compare():
  with pytest.raises(BadInput, match=r"unknown map of the views 'sam'; did you mean 'same'"):
    correlation(context(views), of={"a": ("sam", "loss")}, batch_size=4)
  constant = lambda *given: {**views(*given), "loss": jnp.ones((4, 2, 3))}
  with pytest.raises(BadInput, match="has ranks to compare in all of"):
    correlation(context(constant), of=RANKS, batch_size=4)
  never = lambda *given: {**views(*given), "high": jnp.zeros((4, 2, 3), bool)}
  with pytest.raises(BadInput, match="nothing in split 'test' to take the mean 'a' of"):
    mean(context(never), of={"a": ("loss", "high")}, batch_size=4)


def test_means_are_taken_where_a_mask_says_and_for_each_label():
  of = {"all": "loss", "rate": "high", "high": ("loss", "high"), "by": ("loss", "row")}
  found = mean(context(views), of={**of, "there": "gaps"}, batch_size=4)
  high = IMAGES[IMAGES > 0]
  expected = {"all": IMAGES.mean(), "rate": (IMAGES > 0).mean(), "high": high.mean()}
  expected |= {"by/0": IMAGES[:, 0].mean(), "by/1": IMAGES[:, 1].mean(), "there": high.mean()}
  assert found == {name: pytest.approx(float(x), rel=1e-5) for name, x in expected.items()}
