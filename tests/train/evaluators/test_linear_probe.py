"""Linear and few-label probes: scikit-learn as oracle, and the edges of their protocol."""

import logging

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from maskjax.errors import BadInput
from maskjax.train.evaluators import kshot_probe, linear_probe
from maskjax.train.evaluators.linear_probe import _draw


def oracle(splits, l2):
  (x, y), (queries, labels) = splits["train"], splits["test"]
  scaler = StandardScaler().fit(x.astype(np.float64))
  model = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-6, max_iter=5000)
  return model.fit(scaler.transform(x), y).score(scaler.transform(queries), labels)


@pytest.mark.parametrize("l2", [1e-3, 1e-1])
@pytest.mark.parametrize("data", ["digits", "blobs"])
def test_linear_equals_scikit_learn(make_context, request, data, l2):
  splits = request.getfixturevalue(data)
  result = linear_probe(make_context(splits, int(splits["train"][1].max()) + 1), l2=l2)
  assert result["accuracy"] == pytest.approx(oracle(splits, l2), abs=4e-3)
  assert result["l2"] == l2


def test_linear_learns_through_label_noise(make_context, digits):
  x, y = digits["train"]
  rng = np.random.default_rng(0)
  noisy = np.where(rng.random(len(y)) < 0.3, rng.integers(0, 10, len(y)), y).astype(np.int32)
  result = linear_probe(make_context({**digits, "train": (x, noisy)}, 10), l2=(1e-1, 1e-4))
  assert result["l2"] == pytest.approx(1e-1)  # the weak penalty fits the noise
  assert result["accuracy"] > 0.85


def test_linear_ignores_the_order_of_rows(make_context, blobs, shuffle):
  kwargs = {"l2": 1e-3}
  one, other = (
    linear_probe(make_context(blobs, 3), **kwargs),
    linear_probe(make_context(shuffle(blobs), 3), **kwargs),
  )
  assert one["accuracy"] == pytest.approx(other["accuracy"], abs=4e-3)


def test_linear_is_deterministic_and_blind_to_the_key(make_context, blobs):
  assert linear_probe(make_context(blobs, 3, seed=0)) == linear_probe(
    make_context(blobs, 3, seed=1)
  )


def test_linear_constant_columns_and_offsets(make_context, blobs):
  pad = lambda x, value: np.concatenate([x, np.full((len(x), 1), value, np.float32)], 1)
  (x, y), (queries, labels) = blobs["train"], blobs["test"]
  # A constant says nothing, even where the test split breaks it.
  splits = {"train": (pad(x, 0.1), y), "test": (pad(queries, 1e6), labels)}
  plain = linear_probe(make_context(blobs, 3), l2=1e-3)["accuracy"]
  assert linear_probe(make_context(splits, 3), l2=1e-3)["accuracy"] == pytest.approx(
    plain, abs=4e-3
  )
  moved = {name: (x * 64 + 512, y) for name, (x, y) in blobs.items()}
  assert linear_probe(make_context(moved, 3), l2=1e-3)["accuracy"] == pytest.approx(plain, abs=4e-3)


def test_linear_without_deviation_and_with_absent_class(make_context, blobs):
  result = linear_probe(make_context(blobs, 4), standardize=False, l2=1e-2)
  assert result["accuracy"] == pytest.approx(oracle(blobs, 1e-2), abs=0.03)


def test_linear_bad_input_and_unfinished_fit(make_context, blobs, caplog):
  with pytest.raises(BadInput, match="'linear_probe' needs labels"):
    linear_probe(make_context(blobs, 0))
  for l2 in (-1.0, (), (1.0, -1.0)):
    with pytest.raises(BadInput, match="l2"):
      linear_probe(make_context(blobs, 3), l2=l2)
  few = {name: (x[:6], y[:6]) for name, (x, y) in blobs.items()}
  with pytest.raises(BadInput, match="too few"):
    linear_probe(make_context(few, 3))
  with caplog.at_level(logging.WARNING, "maskjax"):
    linear_probe(make_context(blobs, 3), l2=1e-3, steps=1)
  assert "stopped after 1 steps" in caplog.text


def test_kshot_equals_scikit_learn_draw_by_draw(make_context, digits):
  context = make_context(digits, 10)
  result = kshot_probe(context, labels=5, draws=4)
  order = np.argsort(digits["train"][1], kind="stable")
  x, y = digits["train"][0][order], digits["train"][1][order]
  scaler = StandardScaler().fit(x)
  scores = []
  for index in _draw(context, y, classes=10, labels=5, draws=4):
    model = LogisticRegression(C=1 / (3e-2 * 50), tol=1e-6, max_iter=5000)
    model.fit(scaler.transform(x[index]), y[index])
    scores.append(model.score(scaler.transform(digits["test"][0]), digits["test"][1]))
  assert result["accuracy"] == pytest.approx(np.mean(scores), abs=4e-3)
  assert result["std"] == pytest.approx(np.std(scores, ddof=1), abs=4e-3)


def test_kshot_draws(make_context):
  context = make_context({}, 3)
  y = np.repeat([0, 1, 2], [4, 30, 9]).astype(np.int32)
  index = _draw(context, y, classes=3, labels=4, draws=200)
  assert index.shape == (200, 12)
  assert (y[index] == np.repeat([0, 1, 2], 4)).all()
  assert all(len(set(row)) == 12 for row in index.tolist())
  assert set(index.ravel().tolist()) == set(range(43))  # every example is reachable
  counts = np.bincount(index.ravel(), minlength=43)[4:34]
  assert 10 < counts.min() < counts.max() < 50  # 200 · 4 / 30 = 27 each
  np.testing.assert_array_equal(index[:5], _draw(context, y, classes=3, labels=4, draws=5))
  other = make_context({}, 3, seed=1)
  assert (index != _draw(other, y, classes=3, labels=4, draws=200)).any()


def test_kshot_is_deterministic_and_follows_the_key(make_context, digits):
  context = make_context(digits, 10)
  first = kshot_probe(context, labels=5, draws=4)
  assert first == kshot_probe(context, labels=5, draws=4)
  context.key = jax.random.key(7)
  assert first != kshot_probe(context, labels=5, draws=4)
  assert 0.7 < first["accuracy"] < 0.97
  assert kshot_probe(context, labels=5, draws=1)["std"] == 0


def test_kshot_bad_input(make_context, blobs):
  with pytest.raises(BadInput, match="'kshot_probe' needs labels"):
    kshot_probe(make_context(blobs, 0))
  with pytest.raises(BadInput, match=r"class 'class 3' has 0 examples, fewer than labels=10"):
    kshot_probe(make_context(blobs, 4))
  with pytest.raises(BadInput, match="at least 1"):
    kshot_probe(make_context(blobs, 3), labels=0)
