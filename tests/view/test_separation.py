"""Pictures and recordings of mixtures."""

import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.view.separation import HEIGHT, WIDTH, masks_mixture, recordings

RNG = np.random.default_rng(0)
RECORD = Record("mixture", (2, 800), {"test": 3}, rate=8000)
SOURCES = RNG.normal(size=(3, 2, 800)).astype(np.float32)
VIEWS = {
  "mixture": SOURCES.sum(1),
  "sources": SOURCES,
  "estimates": -5 * SOURCES,
  "gate": np.stack([np.zeros((3, 40, 6)), np.ones((3, 40, 6))], 1),
  "peaks": np.linspace(1, 0, 6),
}


def test_a_row_a_mixture_and_seven_columns():
  picture = masks_mixture(VIEWS, RECORD)
  assert picture.dtype == np.uint8
  assert picture.shape[0] > 3 * HEIGHT
  assert picture.shape[1] > 7 * WIDTH


def test_filters_are_drawn_in_the_order_of_their_peaks():
  gate = np.zeros((3, 2, 40, 6))
  gate[..., 0] = 1  # the highest: it belongs on top
  high, low = (
    masks_mixture({**VIEWS, "gate": gate, "peaks": peaks}, RECORD)
    for peaks in (VIEWS["peaks"], VIEWS["peaks"][::-1])
  )
  rows = np.flatnonzero((high != low).any((1, 2)))
  first = rows[rows < HEIGHT + 60]
  middle = (first[0] + first[-1]) // 2
  assert len(first) < HEIGHT / 2
  assert middle not in first


def test_recordings_are_scaled_to_their_sources():
  found = recordings(VIEWS)
  kinds = ("mixture", "source_1", "source_2", "estimate_1", "estimate_2")
  assert set(found) == {f"{i}_{kind}" for i in range(3) for kind in kinds}
  np.testing.assert_allclose(found["1_estimate_2"], found["1_source_2"], atol=1e-5)


def test_a_view_that_is_not_there_is_named():
  with pytest.raises(BadInput, match="gate"):
    masks_mixture({name: VIEWS[name] for name in VIEWS if name != "gate"}, RECORD)
