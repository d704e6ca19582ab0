from types import SimpleNamespace

import jax
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.train.evaluators import link_prediction
from maskjax.train.evaluators.link_prediction import auc, correlation, unjoined

N = 10
HELD = np.array([[0, 5], [1, 6]])
EDGES = np.array([[(i + 1) % N, i] for i in range(N)] + [[(i - 1) % N, i] for i in range(N)])
EDGES = EDGES[np.lexsort(EDGES.T)]


def context(x, prediction, gate, held=HELD, last=None):
  batch = {
    "edges": np.concatenate([EDGES, [[N, N]]])[None],
    "size": np.array([N]),
    "valid": np.ones((1, N), bool),
  }
  batch |= {} if held is None else {"held": held[None]}
  views = {"gate": gate, "prediction": prediction, "size": batch["size"]}
  pictures = {}
  task = SimpleNamespace(answers={"views": lambda v, b, key: views | {"edges": b["edges"]}})
  return SimpleNamespace(
    record=Record("graph", (N, 2), {"graph": 1}),
    examples=lambda split, size: iter([batch]),
    mesh=SimpleNamespace(put_whole=lambda b: b, get=lambda tree: jax.tree.map(np.asarray, tree)),
    encode=lambda v, b: {"node": x[None], "last": x[None] if last is None else last[None]},
    task=task,
    variables={},
    key=jax.random.key(0),
    picture=lambda name, image: pictures.update({name: image}),
    pictures=pictures,
  )


def test_held_out_edges_rank_above_negatives():
  gate = np.random.default_rng(0).random((1, 2, len(EDGES) + 1))
  x = np.zeros((N, N))
  for i in range(N):
    x[i, i % 5] = 3 + i  # only nodes i and i + 5 are alike, whatever their length
  made = context(x, 0.2 + 0.5 * gate, gate, HELD)
  found = link_prediction(made, features="node", cosine=True)
  assert found["gate"] == pytest.approx(1)
  assert found["auc"] >= 0.5 + 0.5 * (1 - 2 / 3)
  assert made.pictures["gates"].ndim == 3
  assert link_prediction(context(x, -gate, gate))["gate"] == pytest.approx(-1)
  assert link_prediction(context(x, gate, np.ones_like(gate)))["gate"] == 0


def test_the_inner_product_of_the_last_layer_or_the_cosine_of_all():
  """As the authors': long features of the last layer count for more, whatever the others say."""
  gate, x, last = np.ones((1, 1, len(EDGES) + 1)), np.zeros((N, N)), np.zeros((N, 2))
  for i in range(N):
    x[i, i % 5] = 1  # all layers together know the held-out edges
  last[:, 0] = 1
  last[[0, 5]], last[[1, 6]] = (9, 0), (0, 9)
  scored = lambda **how: link_prediction(context(x, gate, gate, last=last), **how)["auc"]
  assert scored() == 1
  assert scored(features="node", cosine=True) >= 0.5 + 0.5 * (1 - 2 / 3)
  assert scored(cosine=True) < 1
  with pytest.raises(BadInput, match="unknown features of link_prediction 'lst'"):
    scored(features="lst")


def test_what_cannot_be_is_told():
  gate = np.ones((1, 1, len(EDGES) + 1))
  with pytest.raises(BadInput, match=r"data\.held"):
    link_prediction(context(np.eye(N), gate, gate, held=None))
  with pytest.raises(BadInput, match="split"):
    link_prediction(context(np.eye(N), gate, gate), split="trian")
  with pytest.raises(BadInput, match="every two"):
    unjoined(np.array([[0, 1]]), 2, 1, seed=0)


def test_area_is_that_of_scikit_learn():
  rng = np.random.default_rng(0)
  high, low = np.round(rng.normal(0.5, size=40), 1), np.round(rng.normal(size=60), 1)
  label = np.concatenate([np.ones(40), np.zeros(60)])
  assert auc(high, low) == pytest.approx(roc_auc_score(label, np.concatenate([high, low])))


def test_correlation_is_within_neighbourhoods():
  node = np.array([0, 0, 1, 1])
  gate = np.array([[0.4, 0.6, 0.2, 0.8]])
  offset = np.array([5.0, 5.0, -5.0, -5.0])
  assert correlation(gate + offset, gate, node) == pytest.approx(1)
  assert correlation(gate[:, [1, 0, 3, 2]] + offset, gate, node) == pytest.approx(-1)


def test_negatives_of_an_evaluation_are_without_edges():
  found = unjoined(EDGES, N, 200, seed=3)
  joined = {tuple(sorted(e)) for e in EDGES.tolist()}
  assert not joined & set(map(tuple, found.tolist()))
  assert (found[:, 0] != found[:, 1]).all()
