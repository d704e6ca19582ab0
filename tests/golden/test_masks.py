"""The masks of a seed are API."""

import json
import pathlib
import runpy

HERE = pathlib.Path(__file__).parent


def test_seeds_hide_the_positions_that_they_always_hid():
  stored = json.loads((HERE / "masks.json").read_text())
  drawn = runpy.run_path(str(HERE / "make_masks.py"))["hidden_positions"]()
  assert len(stored) == 48
  assert drawn == stored
  hidden = {tuple(row["hidden"]) for row in stored if row["grid"] == [14, 14]}
  assert len(hidden) == 12
  assert {len(row) for row in hidden} == {147}
