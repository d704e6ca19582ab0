"""Signs of collapse, and costs by what was drawn, on a stand-in that knows both."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.train.evaluators import latent_prediction
from maskjax.train.evaluators.latent_prediction import rank, spread
from maskjax.train.mesh.mesh import make_mesh

FEATURES = np.random.default_rng(1).normal(3, 1, (400, 6)).astype(np.float32)


def views(variables, batch, key):
  """Two views whose cost falls with a level, and a picture."""
  level = batch["image"][:, 0]
  return {"level": level, "cost": 1 - level, "seen": jnp.zeros((len(level), 2, 2, 1))}


def context(views, size=10):
  """Ten examples in batches of four, of which padding would spoil the mean."""
  x = np.random.default_rng(0).permutation(2 * size).reshape(size, 1, 2) / (2 * size)

  def examples(split, batch_size):
    for start in range(0, size, batch_size):
      part = x[start : start + batch_size].astype(np.float32)
      short = batch_size - len(part)
      image = np.pad(part, ((0, short), (0, 0), (0, 0)), constant_values=7.0)
      yield {"image": image, "valid": np.arange(batch_size) < len(part)}

  task, mesh = types.SimpleNamespace(answers={"views": views}), make_mesh(None)
  features = lambda split, pooling: (FEATURES, None)
  given = dict(task=task, variables={}, key=jax.random.key(0), mesh=mesh)
  return types.SimpleNamespace(**given, examples=examples, features=features)


def test_costs_are_cut_by_what_was_drawn():
  found = latent_prediction(context(views), batch_size=4)
  assert found.pop("spread") == pytest.approx(spread(FEATURES))
  assert found.pop("rank") == pytest.approx(rank(FEATURES))
  # 20 levels, from 0 to 0.95.
  parts = {f"level {i + 1}": pytest.approx(1 - (5 * i + 2) / 20) for i in range(4)}
  assert found == {"loss": pytest.approx(1 - 9.5 / 20), **parts}


def test_only_the_first_examples_are_asked():
  few = latent_prediction(context(views), batch_size=4, examples=3)
  first = context(views)
  image = next(first.examples("test", 4))["image"]
  assert few["loss"] == pytest.approx(1 - image.mean())


def test_features_collapse_in_two_ways():
  assert spread(FEATURES) == pytest.approx(1 / np.sqrt(10), rel=0.05)
  assert rank(FEATURES) > 5.9
  line = 3 + np.outer(np.linspace(-1, 1, 400), np.arange(6.0))
  assert rank(line) == pytest.approx(1)
  assert spread(line) > 0.5
  point = np.full((400, 6), 3.0)
  assert (spread(point), rank(point)) == (0, 1)


def test_refuses_what_it_cannot_compare():
  with pytest.raises(BadInput, match="it predicts no latents"):
    latent_prediction(context(lambda *_: {}), batch_size=4)
