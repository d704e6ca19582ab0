"""A graph from an npz file: features and labels of its nodes, its edges, and splits of nodes."""

import dataclasses
from collections.abc import Mapping
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Bool, Float, Int

from maskjax.data import npz
from maskjax.data.digests import digest
from maskjax.data.source import Example, Source, inside
from maskjax.errors import BadInput
from maskjax.record import Record

PARTS = {"train": "train", "validation": "val", "test": "test"}
# What PyTorch Geometric calls them.
NAMES = {"x": "features", "edge_index": "edges", "y": "label", "labels": "label"} | {
  f"{name}_mask": name for name in PARTS.values()
}
SPARSE = ("feature_indptr", "feature_indices", "num_features")

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
  """One example, the graph, padded to a fixed number of nodes n and of directed edges m.

  `{"nodes": float32 [n, f], "size": nodes that are there, "edges": int32 [m, 2], "unit": int32 [m],
  "valid": bool [n]}`, with labels `"label": int32 [n]`, with held-out edges `"held": int32 [h, 2]`.
  An edge is (from, to); both directions of an edge are there and have one `unit`, its number. Edges
  are sorted by where they lead to, then by where from; padding is (n, n) of unit -1. `valid` are
  the nodes of the split.
  """

  example: Mapping[str, np.ndarray | int]

  @property
  def digest(self) -> str:
    """Of all its arrays."""
    return digest(np.asarray(self.example[name]).tobytes() for name in sorted(self.example))

  def __len__(self) -> int:
    """One."""
    return 1

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The graph."""
    inside(index, 1)
    return dict(self.example)


def open(
  path: str, *, held: float = 0.0, seed: int = 0, nodes: int | None = None, edges: int | None = None
) -> tuple[Record, dict[str, Source]]:
  """Opens the graph in an npz file, as split "graph" and as the nodes of each split of the file.

  Arrays of the file, or as PyTorch Geometric calls them (see `NAMES`): `edges`, whole numbers
  [k, 2] or [2, k], once or in both directions; `features` [n, f], or the positions of ones in the
  rows of a sparse binary matrix as `feature_indptr` [n + 1], `feature_indices` and `num_features`;
  if there are any, `label` [n], whole numbers from 0; and `train`, `val`, `test`, each the numbers
  of some nodes or a mask, bool [n]. Edges have no direction; loops and repetitions are dropped.

  The split "graph" is what is learned from: all nodes, and all edges but the share `held`, drawn
  with `seed`. The splits "train", "validation" and "test" are the whole graph, with their nodes
  `valid`. `nodes` and `edges` (directed ones, two for each) are the numbers to pad to.

  Args:
    path: the npz file.
    held: share of the edges that are held out, in [0, 1).
    seed: of which these are.
    nodes: number of nodes to pad to; None: no padding.
    edges: number of directed edges to pad to; None: no padding.

  Returns:
    The record, and the graph of each split.

  Raises:
    BadInput: no such file, arrays that are missing or do not fit, nothing to learn from.
  """
  arrays = _named(npz.read(path), path)
  features, pairs = _features(arrays, path), _pairs(arrays, path)
  size, k = len(features), len(pairs)
  if not k or pairs.min() < 0 or pairs.max() >= size:
    raise BadInput(f"edges of {path!r} must be pairs of nodes from 0 to {size - 1}")
  if not 0 <= held < 1:
    raise BadInput(f"data.held is a share of the edges in [0, 1), got {held}")
  out = np.random.default_rng(seed).permutation(k)[: round(held * k)]
  if len(out) == k:
    raise BadInput(f"data.held={held} of {k} edges leaves none to learn from")
  n, m = _room("nodes", nodes, size), _room("edges", edges, 2 * k)
  shared: dict[str, Any] = {"nodes": np.pad(features, ((0, n - size), (0, 0))), "size": size}
  labels = _labels(arrays, size, path)
  if labels is not None:
    shared["label"] = np.pad(labels, (0, n - size))
  whole = _directed(pairs, n, m)
  kept = _directed(np.delete(pairs, out, axis=0), n, m) if len(out) else whole
  everyone = {"valid": np.arange(n) < size}
  hidden = {"held": pairs[np.sort(out)].astype(np.int32)} if len(out) else {}
  splits: dict[str, Source] = {"graph": Graph({**shared, **kept, **everyone, **hidden})}
  for split, name in PARTS.items():
    if name in arrays:
      splits[split] = Graph({**shared, **whole, "valid": _members(arrays[name], size, n, path)})
  classes = 0 if labels is None else int(labels.max()) + 1
  record = Record(
    "graph",
    (n, features.shape[1]),
    dict.fromkeys(splits, 1),
    class_names=tuple(map(str, range(classes))),
    mean=(0.0,),
    std=(1.0,),
  )
  return record, splits


def _named(arrays: Arrays, path: str) -> Arrays:
  """Arrays by our names: PyTorch Geometric calls some of them otherwise."""
  for other, name in NAMES.items():
    if other in arrays and name in arrays:
      raise BadInput(f"{path!r} holds both {name} and {other}")
  return {NAMES.get(name, name): found for name, found in arrays.items()}


def _features(arrays: Arrays, path: str) -> Float[np.ndarray, "n f"]:
  """The features of every node, from a matrix or from the positions of its ones."""
  if "features" in arrays:
    found = arrays["features"]
    if found.ndim != 2 or found.dtype.kind not in "fiub" or not np.isfinite(found).all():
      raise BadInput(f"features of {path!r}: wanted finite numbers [nodes, features]")
    return found.astype(np.float32)
  if missing := [name for name in SPARSE if name not in arrays]:
    raise BadInput(f"{path!r} has neither features nor {', '.join(missing)}")
  start, column, width = (arrays[name] for name in SPARSE)
  count = len(start) - 1 if start.ndim else 0
  whole = all(found.dtype.kind in "iu" for found in (start, column, width))
  flat = start.ndim == column.ndim == 1 and width.size == 1 and len(start) > 0
  fits = whole and flat and start[0] == 0 and start[-1] == len(column)
  fits = fits and bool((start[1:] >= start[:-1]).all())
  if not fits or (len(column) and not 0 <= column.min() <= column.max() < width):
    raise BadInput(f"feature_indptr, feature_indices and num_features of {path!r} do not fit")
  row = np.searchsorted(start[1:], np.arange(len(column)), side="right")
  found = np.zeros((count, int(width.item())), np.float32)
  found[row, column] = 1
  return found


def _pairs(arrays: Arrays, path: str) -> Int[np.ndarray, "k 2"]:
  """Every edge once, the lower node first."""
  edges = arrays.get("edges")
  if edges is not None and edges.ndim == 2 and edges.shape[0] == 2 != edges.shape[1]:
    edges = edges.T
  if edges is None or edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype.kind not in "iu":
    raise BadInput(f"{path!r} needs edges, whole numbers [edges, 2]")
  edges = np.sort(edges.astype(np.int64), axis=1)
  return np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0)


def _labels(arrays: Arrays, size: int, path: str) -> Int[np.ndarray, "n"] | None:
  label = arrays.get("label")
  if label is None:
    return None
  label = label[:, 0] if label.shape == (size, 1) else label
  if label.shape != (size,) or label.dtype.kind not in "iu" or label.min() < 0:
    raise BadInput(f"label of {path!r} must be {size} whole numbers from 0")
  return label.astype(np.int32)


def _members(index: np.ndarray, size: int, room: int, path: str) -> Bool[np.ndarray, "n"]:
  """Which nodes are in a split, given by their numbers or by a mask."""
  if index.dtype == bool and index.shape == (size,):
    index = np.flatnonzero(index)
  fits = index.ndim == 1 and index.dtype.kind in "iu" and len(index)
  if not fits or index.min() < 0 or index.max() >= size:
    raise BadInput(
      f"a split of {path!r} must be numbers of nodes from 0 to {size - 1} or a mask [{size}]"
    )
  return np.isin(np.arange(room), index)


def _directed(pairs: Int[np.ndarray, "k 2"], n: int, m: int) -> dict[str, np.ndarray]:
  """Both directions, sorted by where they lead to, padded."""
  both = np.concatenate([pairs, pairs[:, ::-1]])
  unit = np.tile(np.arange(len(pairs)), 2)
  order = np.lexsort((both[:, 0], both[:, 1]))
  more = m - len(both)
  edges = np.concatenate([both[order], np.full((more, 2), n)])
  return {
    "edges": edges.astype(np.int32),
    "unit": np.pad(unit[order], (0, more), constant_values=-1).astype(np.int32),
  }


def _room(name: str, given: int | None, least: int) -> int:
  if given is not None and given < least:
    raise BadInput(f"data.{name}={given} is too few: the graph has {least}")
  return least if given is None else given
