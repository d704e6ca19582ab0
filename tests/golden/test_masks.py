"""The masks of a seed are API."""

import json
import pathlib
import runpy

HERE = pathlib.Path(__file__).parent


def test_seeds_hide_the_positions_that_they_always_hid():
  stored = json.loads((HERE / "masks.json").read_text())
  drawn = runpy.run_path(str(HERE / "make_masks.py"))["hidden_positions"]()
  assert drawn == stored
  first, kinds = stored[:48], stored[48:]
  hidden = {tuple(row["hidden"]) for row in first if row["grid"] == [14, 14]}
  assert len(hidden) == 12
  assert {len(row) for row in hidden} == {147}
  for kind in {row["kind"] for row in kinds}:
    # Two seeds of two examples each; of few blocks, the same may be drawn twice.
    assert len({str(row["hidden"]) for row in kinds if row["kind"] == kind}) > 2
