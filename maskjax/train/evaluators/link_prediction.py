"""Whether a graph's held-out edges are told from pairs without one, and edges from each other."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from maskjax.errors import BadInput, unknown
from maskjax.task.answers import answer, needs
from maskjax.view.graph import masks_graph


@needs("features", "views", kinds=("graph",))
def link_prediction(
  context: Any, *, split: str = "graph", seed: int = 0, features: str = "last", cosine: bool = False
) -> dict[str, float]:
  r"""How well inner products of node features rank held-out edges above pairs without an edge.

  The `features` are those of the "last" layer, as in the public code of Bandana, or of each "node",
  all layers; with `cosine` they are scaled to length 1. As many pairs as there are held-out edges
  are drawn with `seed`, uniformly from those that no edge joins, held out or not. "auc" is the
  share of (edge, pair) in which the edge has the larger product, ties counting half.

  "gate" is about what the task does to edges: the correlation of what its decoder says of an edge
  with the edge's gate, from both less their mean over the edges that lead to one node, all layers
  and nodes together: $\mathrm{corr}(p_e - \bar p_{S(e)}, g_e - \bar g_{S(e)})$. 0 where the
  gates around a node are all equal. It is above 0 where node features tell through which edges more
  came in. The picture shows the gates.

  Args:
    context: what the training loop hands over.
    split: of graphs with held-out edges.
    seed: of the pairs without an edge.
    features: "last" layer, or all layers of a "node".
    cosine: whether features are scaled to length 1.

  Returns:
    {"auc", "gate"}.

  Raises:
    BadInput: an unknown split, features that the task does not tell, or a split whose
      graphs have no held-out edges.
  """
  if split not in context.record.sizes:
    raise unknown("split", split, context.record.sizes)
  [batch] = context.examples(split, 1)
  if "held" not in batch:
    raise BadInput("link_prediction: no edges are held out; data.held is their share")
  bare = {name: value for name, value in batch.items() if name not in ("valid", "held")}
  placed = context.mesh.put_whole(bare)
  told = context.mesh.get(context.encode(context.variables, placed))
  if features not in told:
    raise unknown("features of link_prediction", features, told)
  x = told[features][0].astype(np.float64)
  size, edges, held = int(batch["size"][0]), batch["edges"][0], batch["held"][0]
  if cosine:
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
  product = lambda pairs: (x[pairs[:, 0]] * x[pairs[:, 1]]).sum(1)
  apart = unjoined(np.concatenate([edges[edges[:, 1] < size], held]), size, len(held), seed)
  placed = {**placed, "position": np.zeros(1, np.int32)}
  show = jax.jit(answer(context.task, "views", "link_prediction"))
  views = context.mesh.get(show(context.variables, placed, context.key))
  context.picture("gates", masks_graph(views, context.record))
  there = edges[:, 1] < size
  said, gate = (np.asarray(views[name])[0][:, there] for name in ("prediction", "gate"))
  same = correlation(said, gate, edges[there, 1])
  return {"auc": auc(product(held), product(apart)), "gate": same}


def unjoined(
  edges: Int[np.ndarray, "m 2"], size: int, count: int, seed: int
) -> Int[np.ndarray, "count 2"]:
  """Pairs of different nodes that none of the edges joins, in either direction.

  >>> unjoined(np.array([[0, 1], [1, 2]]), 3, 2, seed=0).tolist()
  [[0, 2], [0, 2]]
  """
  joined = set(map(tuple, np.sort(edges, axis=1).tolist()))
  rng = np.random.default_rng(seed)
  found: list[tuple[int, int]] = []
  if len(joined) >= size * (size - 1) // 2:
    raise BadInput("link_prediction: every two nodes are joined")
  while len(found) < count:
    a, b = sorted(rng.integers(size, size=2).tolist())
    if a != b and (a, b) not in joined:
      found.append((a, b))
  return np.array(found)


def auc(high: Float[np.ndarray, "a"], low: Float[np.ndarray, "b"]) -> float:
  """The share of pairs of which the first is larger, ties counting half.

  >>> auc(np.array([2.0, 1.0]), np.array([1.0, 0.0]))
  0.875
  """
  ordered = np.sort(low)
  below, upto = (np.searchsorted(ordered, high, side).sum() for side in ("left", "right"))
  return float((below + upto) / (2 * len(high) * len(low)))


def correlation(
  said: Float[np.ndarray, "k m"], gate: Float[np.ndarray, "k m"], node: Int[np.ndarray, "m"]
) -> float:
  """Pearson's correlation over edges, both less their means over the edges of the same node."""
  count = np.maximum(np.bincount(node), 1)

  def centred(values: Any) -> np.ndarray:
    values = np.broadcast_to(values, (max(len(said), len(gate)), len(node))).astype(np.float64)
    return np.stack([row - (np.bincount(node, row) / count)[node] for row in values])

  a, b = centred(said), centred(gate)
  scale = np.sqrt((a * a).sum() * (b * b).sum())
  return float((a * b).sum() / scale) if scale > 1e-12 else 0.0
