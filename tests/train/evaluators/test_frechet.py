"""The Fréchet distance against scipy, and the evaluator with a network that looks at pixels."""

import pathlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.base import Task
from maskjax.train.evaluators import frechet as home
from maskjax.train.evaluators import samples

module = __import__("maskjax.train.evaluators.frechet", fromlist=["distance"])
RECORD = Record("image", (4, 4, 1), {"train": 90, "test": 30}, ("a",), mean=(0.5,), std=(0.25,))


def test_the_distance_is_that_of_the_matrix_root():
  rng = np.random.default_rng(0)
  a = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 5))
  b = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5)) + 1
  covariances = np.cov(a.T), np.cov(b.T)
  root = linalg.sqrtm(covariances[0] @ covariances[1])
  gap = np.square(a.mean(0) - b.mean(0)).sum()
  expected = gap + np.trace(covariances[0] + covariances[1] - 2 * root).real
  np.testing.assert_allclose(module.distance(a, b), expected, rtol=1e-6)
  np.testing.assert_allclose(module.distance(b, a), expected, rtol=1e-6)
  assert module.distance(a, a) < 1e-9


def context(monkeypatch, sample):
  """Smooth images; features are means of rows and columns, of pixels in [0, 1]."""
  rng = np.random.default_rng(0)
  real = lambda n: rng.normal(size=(n, 1, 1, 1)) * 0.5 + rng.normal(size=(n, 4, 4, 1)) * 0.1
  splits = {"train": real(90).astype(np.float32), "test": real(30).astype(np.float32)}

  def examples(split, batch_size, limit=None):
    images = splits[split][:limit]
    for i in range(0, len(images), batch_size):
      part = images[i : i + batch_size]
      there = np.arange(batch_size) < len(part)
      yield {"image": np.resize(part, (batch_size, 4, 4, 1)), "valid": there}

  looked = lambda variables, batch: {"mean": batch["image"].mean(axis=(2, 3))}
  loaded = types.SimpleNamespace(apply=looked, variables={})
  monkeypatch.setattr(module, "load", lambda place: loaded)
  monkeypatch.setattr(module, "read_record", lambda place: RECORD)
  mesh = types.SimpleNamespace(check=lambda *_: None, put_whole=lambda x: x, get=jax.device_get)
  pictures = {}
  task = Task(
    lambda *_: {}, lambda *_: ({}, None), answers={"sample": sample}, network=grid_of((2, 2))
  )
  made = dict(record=RECORD, task=task, variables={}, key=jax.random.key(0), mesh=mesh)
  rest = dict(examples=examples, place=pathlib.Path, picture=pictures.__setitem__, step=0)
  return types.SimpleNamespace(**made, **rest), pictures


def grid_of(grid):
  """A network that knows its grid alone."""
  return types.SimpleNamespace(grid=grid)


def test_copies_are_as_near_as_real_images_and_noise_is_far(monkeypatch):
  copies, _ = context(monkeypatch, lambda variables, keys, batch: {"image": batch["image"]})
  found = home(copies, network="runs/x", examples=20, batch_size=8)
  np.testing.assert_allclose(found["distance"], found["real"], rtol=1e-5)
  assert found["real"] < found["noise"]
  flat, _ = context(monkeypatch, lambda variables, keys, batch: {"image": 0 * batch["image"] + 9})
  assert home(flat, network="runs/x", examples=20, batch_size=8)["distance"] > found["noise"]
  with pytest.raises(BadInput, match="at least 2"):
    home(copies, network="runs/x", examples=1)


def test_samples_are_drawn_as_they_came(monkeypatch):
  def sample(variables, keys, batch):
    step = jnp.broadcast_to(jnp.array([1, 2, 3, 4]), (len(keys), 4))
    return {"image": batch["image"], "step": step}

  fake, pictures = context(monkeypatch, sample)
  assert samples(fake, examples=4, columns=2, stages=2) == {}
  assert set(pictures) == {"samples", "decoding"}
  assert pictures["decoding"].shape[1] < pictures["samples"].shape[1] + 30
