"""Evaluators of a graph look at the nodes of a split."""

from types import SimpleNamespace

import jax
import numpy as np

from maskjax.data import pipeline
from maskjax.record import Record
from maskjax.train.evaluators import linear_probe
from maskjax.train.evaluators.evaluation import Context


def opened(tmp_path):
  """A ring of two classes, the second half of its features of no use."""
  node = np.arange(60)
  label = node // 30
  rng = np.random.default_rng(0)
  features = np.stack([label + 0.01 * rng.normal(size=60), rng.normal(size=60)], 1)
  edges = np.stack([node, (node + 1) % 60], 1)
  parts = {"train": node[::2], "test": node[[5, 9, 31, 33, 35]]}
  np.savez(tmp_path / "g.npz", features=features, edges=edges, label=label, **parts)
  return pipeline.load(name="graph", path=str(tmp_path / "g.npz"), train="graph", nodes=64)


def test_features_are_those_of_the_valid_nodes(tmp_path):
  data = opened(tmp_path)
  encode = lambda variables, batch: {"node": batch["nodes"], "mean": batch["nodes"].mean(1)}
  mesh = SimpleNamespace(
    check=lambda size, parts: None, put_whole=lambda batch: batch, get=lambda tree: tree
  )
  known = dict(record=data.record, task=None, variables={}, opt_state=None, key=jax.random.key(0))
  context = Context(
    **known, step=0, data=data, mesh=mesh, batch_size=1, picture=print, encode=encode
  )
  assert isinstance(context.record, Record)
  x, y = context.features("test", "node")
  np.testing.assert_array_equal(y, [0, 0, 1, 1, 1])
  np.testing.assert_array_equal(x, data.splits["test"][0]["nodes"][[5, 9, 31, 33, 35]])
  assert linear_probe(context, pooling="node", l2=1e-2)["accuracy"] == 1
