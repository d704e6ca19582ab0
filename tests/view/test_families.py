"""The picture of masks of many kinds."""

import jax
import numpy as np

from maskjax import pages
from maskjax.view import families


def test_masks_of_every_row_fit_their_tiles():
  made = jax.eval_shape(families.masks, jax.random.key(0))
  assert set(made) == {name for name, _ in families.ROWS}
  assert len(made) <= 12
  for mask in made.values():
    assert mask.dtype == bool
    assert len(mask.shape) == 3
    assert mask.shape[0] == families.COLUMNS
    assert max(mask.shape[1:]) <= families.SIDE // 3


def test_the_command_draws_them(tmp_path, monkeypatch):
  rng = np.random.default_rng(0)
  drawn = {name: rng.random((families.COLUMNS, 7, 3)) < 0.5 for name, _ in families.ROWS}
  monkeypatch.setattr(families, "masks", lambda key: drawn)
  monkeypatch.setattr(families.jax, "jit", lambda fn: fn)
  file = tmp_path / "masks.png"
  assert pages.main(["--masks", str(file)]) == 0
  page = families.families()
  assert file.stat().st_size > 0
  first = families.tile(drawn[families.ROWS[0][0]][0])
  windows = np.lib.stride_tricks.sliding_window_view(page[12, :, 0], len(first))
  assert any((row == first[0, :, 0]).all() for row in windows)
