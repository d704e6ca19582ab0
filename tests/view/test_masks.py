"""Pictures of masks: every position drawn, seen and hidden told apart, whatever the grid."""

import math

import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.view import grid as layout
from maskjax.view.masks import SEEN, mask_grid, masks

RECORD = Record("image", (8, 12, 1), {"test": 2}, (), (0.5,), (0.25,))


def seen_pixels(picture):
  """Where a picture of masks or a column of them shows what is seen, its header left out."""
  font = layout.ImageFont.load_default(layout.FONT_SIZE)
  header = layout.MARGIN + layout.line_height(font) + 1
  return (picture[header:] == np.uint8(SEEN)).all(axis=-1)


@pytest.mark.parametrize(
  ("grid", "cell"),
  [((14, 14), 49), ((3, 24, 24), 16), ((16, 14, 14), 16), ((200,), 64), ((900,), 16)],
)
def test_seen_area_counts_the_seen_positions(grid, cell):
  n = math.prod(grid)
  for count in (1, n // 2, n):
    hidden = np.ones((3, n), bool)
    hidden[:, :count] = False
    assert seen_pixels(mask_grid(hidden, grid)).sum() == 3 * count * cell


@pytest.mark.parametrize("grid", [(7, 9), (2, 7, 9), (63,)])
def test_positions_are_drawn_where_they_are(grid):
  """Uncovering positions in row-major order moves the drawn centre right, then down."""
  n = math.prod(grid)
  centres = []
  for position in range(n):
    hidden = np.arange(n)[None] != position
    drawn = seen_pixels(mask_grid(hidden, grid))
    centres.append(np.argwhere(drawn).mean(axis=0))
  centres = np.array(centres).reshape(*(1,) * (3 - len(grid)), *grid, 2)
  assert (np.diff(centres[..., 0], axis=1) > 0).all()
  assert (np.diff(centres[..., 1], axis=2) > 0).all()
  assert (np.diff(centres[..., 1], axis=0) > 0).all()
  assert np.ptp(centres[..., 0], axis=(0, 2)).max() < 1


def test_many_masks_wrap_on_a_page():
  picture = mask_grid(np.zeros((40, 16), bool), (4, 4))
  assert picture.shape[1] < 1024
  assert seen_pixels(picture).sum() >= 40 * 16 * 23**2


@pytest.mark.parametrize("grid", [(4, 5), (), (1, 1, 4, 4)])
def test_grid_must_have_the_mask_s_positions(grid):
  with pytest.raises(BadInput, match="16 positions"):
    mask_grid(np.zeros((2, 16), bool), grid)


@pytest.mark.parametrize(
  "hidden",
  [np.zeros((2, 16)), np.zeros((2, 16), np.int32), np.zeros((0, 16), bool), np.zeros(16, bool)],
)
def test_masks_are_bool_and_some(hidden):
  with pytest.raises((BadInput, TypeError)):  # TypeError where jaxtyping checks first
    mask_grid(hidden, (4, 4))


def test_masks_on_images_show_input_mask_and_what_is_seen():
  image = np.random.default_rng(0).normal(size=(2, 8, 12, 1)).astype(np.float32)
  hidden = np.zeros((2, 8, 12, 1), bool)
  hidden[:, :2] = True
  views = {"input": image, "seen": np.where(hidden, np.nan, image), "prediction": image * np.nan}
  picture = masks(views, RECORD)
  assert seen_pixels(picture).sum() == 2 * 6 * 12 * 12**2
  without = masks({name: views[name] for name in ("seen", "input")}, RECORD)
  np.testing.assert_array_equal(picture, without)
  shown = layout.denormalise(image, RECORD.mean, RECORD.std, scale=12)
  mask = layout.hatch(np.full_like(shown, SEEN), np.kron(hidden[..., 0], np.ones((12, 12))) > 0)
  seen = layout.denormalise(views["seen"], RECORD.mean, RECORD.std, scale=12)
  expected = layout.grid({"input": shown, "25% hidden": mask, "model sees": seen})
  np.testing.assert_array_equal(picture, expected)


def test_masks_of_mixed_images_show_the_other_and_what_is_asked():
  record = Record("image", (8, 12, 1), {"test": 2}, ("cat", "dog"), (0.5,), (0.25,))
  rng = np.random.default_rng(0)
  image, other = rng.normal(size=(2, 2, 8, 12, 1)).astype(np.float32)
  hidden = np.arange(8)[None, :, None] < np.full((2, 1, 12), 2)
  seen = np.where(hidden[..., None], other, image)
  target = np.array([[0.75, 0.25], [1.0, 0.0]])
  views = {"input": image, "seen": seen, "hidden": hidden, "other": other, "target": target}
  picture = masks(views, record)
  assert seen_pixels(picture).sum() == 2 * 6 * 12 * 12**2
  shown = lambda x: layout.denormalise(x, record.mean, record.std, scale=12)
  plain = layout.grid({"input": shown(image), "other": shown(other)}, scale=1)
  width = plain.shape[1] - layout.MARGIN
  np.testing.assert_array_equal(picture[:, :width], plain[:, :width])
  # One line of text less in the second row, and none but the texts differ between targets.
  rows = picture[:, -layout.MARGIN - 60 : -layout.MARGIN]
  inked = (rows < 128).all(-1).any(1)
  assert 0 < inked[len(inked) // 2 :].sum() < inked[30 : len(inked) // 2].sum()
  swapped = masks({**views, "target": target[::-1]}, record)
  assert (picture != swapped).any()


def test_masks_needs_both_views():
  with pytest.raises(BadInput, match="'seen'"):
    masks({"input": np.zeros((1, 8, 8, 1), np.float32)}, RECORD)
