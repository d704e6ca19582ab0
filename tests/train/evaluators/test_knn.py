"""kNN against scikit-learn's, and the ties that its protocol settles."""

import jax
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from maskjax.errors import BadInput
from maskjax.train.evaluators import knn


def oracle(splits, k, temperature):
  unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
  (x, y), (queries, labels) = splits["train"], splits["test"]
  weights = lambda distance: np.exp((1 - distance) / temperature)
  model = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=weights)
  return model.fit(unit(x.astype(np.float64)), y).score(unit(queries.astype(np.float64)), labels)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (5, 0.07), (20, 0.07), (20, 1.0)])
@pytest.mark.parametrize("data", ["digits", "blobs"])
def test_equals_scikit_learn(make_context, request, data, k, temperature):
  splits = request.getfixturevalue(data)
  context = make_context(splits, int(splits["train"][1].max()) + 1)
  ours = knn(context, k=k, temperature=temperature)["accuracy"]
  assert ours == pytest.approx(oracle(splits, k, temperature), abs=1e-9)
  assert 0.4 < ours < 1


@pytest.mark.parametrize("batch_size", [1, 97, 300, 1024])
def test_chunks_do_not_matter(make_context, blobs, batch_size):
  context = make_context(blobs, 3)
  assert knn(context, batch_size=batch_size) == knn(context, batch_size=64)


def test_order_of_training_rows_does_not_matter(make_context, blobs, shuffle):
  x, y = blobs["train"]
  twins = {**blobs, "train": (np.concatenate([x, x]), np.concatenate([y, (y + 1) % 3]))}
  for splits in (blobs, twins):
    assert knn(make_context(splits, 3), k=5) == knn(make_context(shuffle(splits), 3), k=5)


@pytest.mark.parametrize("k", [1, 2])
def test_ties_go_to_the_lower_class(make_context, k):
  x = np.array([[1, 0], [1, 0], [-1, 0]], np.float32)
  queries = np.array([[2, 0]], np.float32)
  splits = {"train": (x, np.array([2, 1, 0])), "test": (queries, np.array([1]))}
  assert knn(make_context(splits, 3), k=k)["accuracy"] == 1


def test_scale_and_small_temperature(make_context, blobs):
  scaled = {name: (x * 1e30, y) for name, (x, y) in blobs.items()}
  assert knn(make_context(scaled, 3)) == knn(make_context(blobs, 3))
  sharp, nearest = ({"temperature": 1e-6}, {"k": 1})
  assert knn(make_context(blobs, 3), **sharp) == knn(make_context(blobs, 3), **nearest)


def test_zero_features_and_repeats_are_finite(make_context, blobs):
  x, y = blobs["train"]
  splits = {"train": (np.zeros_like(x), y), "test": blobs["test"]}
  context = make_context(splits, 3)
  expected = (blobs["test"][1] == 0).mean()  # every similarity ties: all go to the lowest class
  assert knn(context)["accuracy"] == pytest.approx(expected)
  assert knn(context) == knn(context)


def test_selects_rather_than_sorts():
  """XLA merges top_k with what follows into a full sort, unless it is kept apart."""
  if jax.default_backend() != "cpu":
    pytest.skip("the text searched for is that of XLA's CPU compiler")
  from maskjax.train.evaluators.knn import _vote

  shape = lambda *s, dtype=np.float32: jax.ShapeDtypeStruct(s, dtype)
  arguments = shape(64, 8), shape(5000, 8), shape(5000, dtype=np.int32), shape()
  text = _vote.lower(*arguments, classes=3, k=20).compile().as_text()
  assert "TopK" in text
  assert " sort(" not in text


def test_bad_input(make_context, blobs):
  with pytest.raises(BadInput, match=r"'knn' needs labels"):
    knn(make_context(blobs, 0))
  with pytest.raises(BadInput, match="k is 301, allowed is 1 to 300"):
    knn(make_context(blobs, 3), k=301)
  with pytest.raises(BadInput, match="temperature"):
    knn(make_context(blobs, 3), temperature=0.0)
  x, y = blobs["test"]
  with pytest.raises(BadInput, match="not finite"):
    knn(make_context({**blobs, "test": (x * np.nan, y)}, 3))
  with pytest.raises(BadInput, match="no examples"):
    knn(make_context({**blobs, "test": (x[:0], y[:0])}, 3))
