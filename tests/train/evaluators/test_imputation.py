"""The error of imputed cells, against numpy, and its baselines, against scikit-learn."""

import functools
import types

import jax
import numpy as np
import pytest
from sklearn.impute import KNNImputer

from maskjax.data import pipeline
from maskjax.errors import BadInput
from maskjax.train.evaluators import imputation
from maskjax.train.mesh.mesh import make_mesh

MISSING = {
  "score": {"fn": "score.self_masked", "ratio": 0.3},
  "select": {"fn": "select.threshold", "above": 0.0},
  "seed": 0,
}


def context(guess, data):
  """A context whose task fills every missing cell by `guess`."""
  fill = lambda variables, batch: jax.numpy.where(batch["valid"], batch["table"], guess)
  pictures = {}
  return types.SimpleNamespace(
    record=data.record,
    task=types.SimpleNamespace(answers={"impute": fill}),
    variables={},
    mesh=make_mesh(None),
    examples=lambda split, size: pipeline.examples(data, split, batch_size=size),
    picture=pictures.__setitem__,
    pictures=pictures,
  )


@functools.cache
def wine():
  return pipeline.load(name="table", bundled="wine", test="", missing=MISSING)


@functools.cache
def cells():
  """The table as it was, scaled to [0, 1], and what is missing of it."""
  from sklearn.datasets import load_wine

  x = load_wine().data
  rows = [wine().splits["train"][i]["valid"][:, 0] for i in range(len(x))]
  return (x - x.min(0)) / np.ptp(x, axis=0), ~np.stack(rows)


def error(guess):
  truth, missing = cells()
  return np.sqrt(((guess - truth)[missing] ** 2).mean())


def test_the_error_is_that_of_the_table_scaled_before_anything_went_missing():
  record = wine().record
  low, high = np.array(record.low), np.array(record.high)
  from sklearn.datasets import load_wine

  x = load_wine().data
  guess = ((low + high) / 2 - x.min(0)) / np.ptp(x, axis=0)  # 0.5 of the scale that is learned from
  found = imputation(context(0.5, wine()), batch_size=100, baselines=False)
  assert found == {"rmse": pytest.approx(error(guess), rel=1e-5)}


def test_baselines_are_scikit_learns_on_the_same_cells():
  truth, missing = cells()
  found = imputation(context(0.5, wine()), batch_size=64)
  holes = np.where(missing, np.nan, truth)
  assert found["mean"] == pytest.approx(error(np.nanmean(holes, 0)), rel=1e-5)
  # Scaled by what is left, distances differ a little from those of the whole table.
  assert found["knn"] == pytest.approx(error(KNNImputer().fit_transform(holes)), rel=0.03)
  assert found["iterative"] < found["mean"]
  assert found["knn"] < found["mean"]


def test_the_picture_is_drawn():
  made = context(0.5, wine())
  imputation(made, baselines=False, rows=5)
  (picture,) = made.pictures.values()
  assert picture.dtype == np.uint8


def test_what_cannot_be_measured_is_said():
  with pytest.raises(BadInput, match="nothing known in 'train' is missing in 'truth'"):
    imputation(context(0.5, wine()), train="truth", test="train")
