import pathlib

import numpy as np
import pytest

from maskjax.data import graph, pipeline
from maskjax.errors import BadInput

CORA = pathlib.Path(__file__).parents[2] / ".." / "shared" / "data" / "cora.npz"
FEATURES = np.arange(12, dtype=np.float64).reshape(4, 3)
EDGES = np.array([[0, 1], [1, 0], [2, 1], [3, 3], [2, 3], [1, 2]])
LABEL = np.array([0, 1, 1, 0])


def write(path, **arrays):
  np.savez(path / "g.npz", **{"features": FEATURES, "edges": EDGES, **arrays})
  return str(path / "g.npz")


def test_edges_go_both_ways_once_sorted_by_their_end(tmp_path):
  record, splits = graph.open(write(tmp_path))
  (one,) = [splits["graph"][0]]
  assert (record.kind, record.shape, record.sizes, record.classes) == (
    "graph", (4, 3), {"graph": 1}, 0,
  )  # fmt: skip
  assert one["edges"].tolist() == [[1, 0], [0, 1], [2, 1], [1, 2], [3, 2], [2, 3]]
  assert one["unit"].tolist() == [0, 0, 1, 1, 2, 2]
  np.testing.assert_array_equal(one["nodes"], FEATURES)
  assert (one["size"], one["valid"].tolist()) == (4, [True] * 4)


def test_padding_and_splits(tmp_path):
  path = write(tmp_path, label=LABEL, train=np.array([1]), test=np.array([2, 3]))
  record, splits = graph.open(path, nodes=6, edges=8)
  assert (record.shape, set(splits), record.classes) == ((6, 3), {"graph", "train", "test"}, 2)
  one = splits["test"][0]
  assert one["edges"][-2:].tolist() == [[6, 6], [6, 6]]
  assert one["unit"][-2:].tolist() == [-1, -1]
  assert one["valid"].tolist() == [False, False, True, True, False, False]
  assert one["label"].tolist() == [0, 1, 1, 0, 0, 0]
  assert (one["nodes"][4:] == 0).all()
  with pytest.raises(IndexError):
    splits["test"][1]


def test_features_of_ones_and_held_out_edges(tmp_path):
  ones = dict(feature_indptr=[0, 1, 1, 3, 4], feature_indices=[2, 0, 1, 1], num_features=3)
  np.savez(tmp_path / "s.npz", edges=EDGES, **{k: np.array(v) for k, v in ones.items()})
  _, splits = graph.open(str(tmp_path / "s.npz"), held=0.34, seed=1)
  one = splits["graph"][0]
  assert one["nodes"].tolist() == [[0, 0, 1], [0, 0, 0], [1, 1, 0], [0, 1, 0]]
  kept = {tuple(sorted(e)) for e in one["edges"].tolist() if e[0] < 4}
  held = set(map(tuple, one["held"].tolist()))
  assert len(held) == 1
  assert kept | held == {(0, 1), (1, 2), (2, 3)}
  assert not kept & held


@pytest.mark.parametrize(
  ("arrays", "says"),
  [
    (dict(edges=np.array([[0, 9]])), "pairs of nodes from 0 to 3"),
    (dict(edges=np.zeros((3, 3), int)), "whole numbers [edges, 2]"),
    (dict(features=np.full((4, 3), np.nan)), "finite numbers"),
    (dict(label=np.array([0, 1])), "4 whole numbers from 0"),
    (dict(train=np.array([4])), "numbers of nodes"),
    (dict(edges=np.array([[1, 1]])), "pairs of nodes"),
  ],
)
def test_what_does_not_fit_is_told(tmp_path, arrays, says):
  with pytest.raises(BadInput) as error:
    graph.open(write(tmp_path, **arrays))
  assert says in str(error.value)


@pytest.mark.parametrize(("field", "value"), [("nodes", 3), ("edges", 5), ("held", 1.0)])
def test_numbers_out_of_range_are_told(tmp_path, field, value):
  with pytest.raises(BadInput, match=f"data.{field}"):
    graph.open(write(tmp_path), **{field: value})


def test_objects_are_not_loaded(tmp_path):
  path = write(tmp_path, label=np.array([None] * 4))
  with pytest.raises(BadInput, match="Python objects"):
    graph.open(path)
  with pytest.raises(BadInput, match="does not exist"):
    graph.open(str(tmp_path / "none.npz"))


@pytest.mark.skipif(not CORA.is_file(), reason="no Cora beside the checkout")
def test_cora():
  data = pipeline.load(name="graph", path=str(CORA), train="graph", held=0.15)
  assert data.record.shape == (2708, 1433)
  assert data.record.classes == 7
  sizes = {name: int(source[0]["valid"].sum()) for name, source in data.splits.items()}
  assert sizes == {"graph": 2708, "train": 140, "validation": 500, "test": 1000}
  whole, part = data.splits["test"][0]["edges"], data.splits["graph"][0]
  assert len(whole) == len(part["edges"]) == 2 * 5278
  assert (part["edges"][:, 0] < 2708).sum() == 2 * (5278 - 792)
  assert len(part["held"]) == 792
  batch = next(pipeline.batches(data, batch_size=1, seed=0))
  assert batch["nodes"].sum() == 49216
