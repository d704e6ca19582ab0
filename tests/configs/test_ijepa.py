"""I-JEPA (Assran et al. 2023), section 3: four blocks are asked, of a context without them."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def views(built):
  masks = built("ijepa").masks
  seen = ~masks["selected"].reshape(24, 16, 16)
  return seen, np.moveaxis(masks["selected/1"], 1, 2).reshape(24, 4, 16, 16)


def test_targets_are_four_blocks_of_one_size_a_sixth_of_the_image_each(views):
  _, asked = views
  rows, columns = asked.any(-1), asked.any(-2)
  assert (asked == rows[..., :, None] & columns[..., None, :]).all()
  height, width = rows.sum(-1), columns.sum(-1)
  assert (np.ptp(height, 1) == 0).all()
  assert (np.ptp(width, 1) == 0).all()
  # Contiguous: the first and the last row are as far apart as there are rows.
  for lines, length in ((rows, height), (columns, width)):
    assert (15 - np.argmax(lines[..., ::-1], -1) - np.argmax(lines, -1) + 1 == length).all()
  assert 0.13 * 256 < (height * width).min() < (height * width).max() < 0.22 * 256
  ratio = height / width
  assert 0.7 < ratio.min() < 1 < ratio.max() < 1.6
  assert len(np.unique(asked.reshape(96, -1), axis=0)) > 48


def test_the_context_is_a_large_square_without_the_targets(views):
  seen, asked = views
  free = ~asked.any(1)
  corners = [np.zeros((16, 16), bool) for _ in range(4)]
  for corner, (i, j) in zip(corners, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
    corner[i : i + 15, j : j + 15] = True
  assert all(any((s == c & f).all() for c in corners) for s, f in zip(seen, free, strict=True))


def test_the_mask_token_decays_as_in_the_public_code(built, undecayed):
  assert undecayed(built("ijepa")) == []
