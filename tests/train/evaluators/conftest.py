"""A stand-in for the training loop's context, and small data to evaluate."""

import types

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits

from maskjax.record import Record


@pytest.fixture
def make_context():
  """Builds a context from splits {name: (x, y)}."""

  def make(splits, classes, seed=0):
    return types.SimpleNamespace(
      features=lambda split, pooling: splits[split],
      record=Record(
        kind="image",
        shape=(8, 8, 1),
        sizes={name: len(x) for name, (x, _) in splits.items()},
        class_names=tuple(f"class {i}" for i in range(classes)),
      ),
      key=jax.random.key(seed),
      step=0,
    )

  return make


def digits_splits():
  x, y = load_digits(return_X_y=True)
  order = np.random.default_rng(0).permutation(len(x))
  x, y = x[order].astype(np.float32), y[order].astype(np.int32)
  return {"train": (x[:1400], y[:1400]), "test": (x[1400:], y[1400:])}


def blob_splits(noise, classes=3, n=300, d=5, seed=0):
  rng = np.random.default_rng(seed)
  centres = rng.normal(size=(classes, d))

  def draw():
    y = rng.integers(0, classes, n).astype(np.int32)
    return (centres[y] + noise * rng.normal(size=(n, d))).astype(np.float32), y

  return {"train": draw(), "test": draw()}


@pytest.fixture
def digits():
  """scikit-learn's digits, pixels as features; some pixels never vary."""
  return digits_splits()


@pytest.fixture
def blobs():
  """Overlapping Gaussian blobs."""
  return blob_splits(noise=1.0)


def shuffled(splits, seed=1):
  x, y = splits["train"]
  order = np.random.default_rng(seed).permutation(len(x))
  return {**splits, "train": (x[order], y[order])}


@pytest.fixture
def shuffle():
  """Shuffles the rows of the training split."""
  return shuffled
