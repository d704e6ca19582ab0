import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.view.graph import bandwidths, masks_graph

EDGES = np.array([[i, 0] for i in range(1, 5)] + [[0, i] for i in range(1, 5)] + [[5, 5]])
RECORD = Record("graph", (5, 2), {"graph": 1})


def views(gate):
  return {"edges": EDGES[None], "size": np.array([5]), "gate": gate[None, None]}


def test_gates_and_padding():
  gate = np.linspace(0, 1, 9)
  picture = masks_graph(views(gate), RECORD)
  np.testing.assert_array_equal(picture, bandwidths(EDGES[:8], gate[:8]))
  other = masks_graph(views(np.append(gate[:8], 0.3)), RECORD)
  np.testing.assert_array_equal(picture, other)
  assert (masks_graph(views(gate[::-1]), RECORD) != picture).any()


def test_what_is_missing_is_told():
  with pytest.raises(BadInput, match="gate"):
    masks_graph({"edges": EDGES[None], "size": np.array([5])}, RECORD)
  with pytest.raises(BadInput, match="needs edges"):
    bandwidths(EDGES[:0], np.zeros(0))
