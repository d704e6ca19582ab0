"""Simulated missingness of tables by the words of the grammar, which are compiled."""

import numpy as np
import pytest
from sklearn.datasets import load_wine

from maskjax.data import table

WHITE = {
  "score": {"fn": "score.uniform"},
  "select": {"fn": "select.threshold", "above": 0.7},
  "seed": 3,
}
SELF = {
  "score": {"fn": "score.self_masked", "ratio": 0.3},
  "select": {"fn": "select.threshold", "above": 0.0},
}


def whole(source):
  """Values and flags of all rows, [rows, columns]."""
  rows = [source[i] for i in range(len(source))]
  return tuple(np.stack([row[k][:, 0] for row in rows]) for k in ("table", "valid"))


@pytest.mark.parametrize("missing", [WHITE, SELF])
def test_simulated_cells_are_known_to_the_truth_alone(missing):
  record, splits = table.open(bundled="wine", missing=missing)
  assert record.sizes == {"train": 178, "truth": 178}
  seen, valid = whole(splits["train"])
  truth, known = whole(splits["truth"])
  assert known.all()
  assert 0.26 < (~valid).mean() < 0.34
  assert (seen[~valid] == 0).all()
  np.testing.assert_array_equal(seen[valid], truth[valid])
  cells = load_wine().data
  low, high = np.array(record.low), np.array(record.high)
  np.testing.assert_allclose(truth * (high - low) + low, cells, rtol=1e-4)
  # Scaled by what is left to learn from, not by what went missing.
  holes = np.where(valid, cells, np.nan)
  np.testing.assert_array_equal(low, np.nanmin(holes, 0))
  np.testing.assert_array_equal(high, np.nanmax(holes, 0))
  assert truth.max() > 1
  assert seen.max() == 1


def test_masks_follow_their_seed():
  draw = lambda seed: whole(table.open(bundled="iris", missing={**WHITE, "seed": seed})[1]["train"])
  one, again, other = (draw(seed)[1] for seed in (3, 3, 4))
  np.testing.assert_array_equal(one, again)
  assert (one != other).any()
