"""Graphs: features of nodes, and edges between them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from maskjax.data.batch import Batch
from maskjax.data.kinds.base import Kind, Scale, Shapes, array


def _shapes(scale: Scale) -> Shapes:
  """See `data.graph.Graph`: padded to n nodes and m directed edges."""
  (n, features), m, held = scale["shape"], scale["edges"], scale.get("held")
  return {
    "nodes": array(np.float32, n, features),
    "edges": array(np.int32, m, 2),
    "unit": array(np.int32, m),
    "size": array(np.int32),
    "valid": array(np.bool_, n),
    **({"label": array(np.int32, n)} if scale.get("classes") else {}),
    **({"held": array(np.int32, held, 2)} if held else {}),
  }


def _tiny(scale: Scale, size: int, rng: np.random.Generator) -> Batch:
  """A ring of the nodes with random chords, each edge in both directions, sorted as files' are."""
  (n, features), m = scale["shape"], scale["edges"]
  node = np.arange(n)
  pairs = np.concatenate([np.stack([node, (node + 1) % n], 1), rng.integers(0, n, (m, 2))])
  pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], 1), axis=0)
  pairs = pairs[np.sort(rng.permutation(len(pairs))[: m // 2])]
  edges = np.concatenate([pairs, pairs[:, ::-1]])
  unit = np.tile(np.arange(len(pairs)), 2)
  order = np.lexsort((edges[:, 0], edges[:, 1]))
  room = m - len(edges)
  edges = np.pad(edges[order], ((0, room), (0, 0)), constant_values=n).astype(np.int32)
  one = {
    "nodes": (rng.random((n, features)) < 0.02).astype(np.float32),
    "edges": edges,
    "unit": np.pad(unit[order], (0, room), constant_values=-1).astype(np.int32),
    "size": np.int32(n),
    "valid": np.ones(n, bool),
  }
  if classes := scale.get("classes"):
    one["label"] = (node % classes).astype(np.int32)
  if held := scale.get("held"):
    one["held"] = rng.integers(0, n, (held, 2), dtype=np.int32)
  return {k: np.repeat(np.asarray(v)[None], size, axis=0) for k, v in one.items()}


def _facts(scale: Scale) -> Mapping[str, Any]:
  return {"mean": (0.0,), "std": (1.0,)}


graph = Kind(
  axes=("nodes", "features"),
  needs=("edges",),
  shapes=_shapes,
  tiny=_tiny,
  facts=_facts,
  masks="maskjax.view.graph:masks_graph",
)
