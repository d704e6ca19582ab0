"""Pictures show what the arrays hold: no stretching, no cropping, NaN unlike any content."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from maskjax.errors import BadInput
from maskjax.view import grid as layout

COLOURS = np.array(
  [[200, 0, 0], [0, 200, 0], [0, 0, 200], [200, 200, 0], [0, 200, 200], [200, 0, 90]]
)


def flat(colour, height=8, width=8):
  return np.broadcast_to(np.uint8(colour), (height, width, 3))


def box(picture, colour):
  """Top, bottom, left, right and number of the pixels of one colour."""
  rows, columns = np.nonzero((picture == np.uint8(colour)).all(axis=-1))
  return rows.min(), rows.max(), columns.min(), columns.max(), len(rows)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 13), st.integers(1, 3), st.integers(0, 2**31))
def test_denormalise_undoes_the_normalisation(channels, scale, seed):
  rng = np.random.default_rng(seed)
  stored = rng.integers(0, 256, (2, 3, 5, channels)).astype(np.uint8)
  mean, std = rng.uniform(0.2, 0.8, channels), rng.uniform(0.05, 0.5, channels)
  shown = layout.denormalise((stored / 255 - mean) / std, mean.tolist(), std.tolist(), scale=scale)
  expected = stored[..., :3] if channels >= 3 else stored[..., [0, 0, 0]]
  np.testing.assert_array_equal(shown, np.kron(expected, np.ones((1, scale, scale, 1), np.uint8)))


def test_denormalise_clips_and_never_stretches():
  faint = np.full((1, 4, 4, 1), 0.1)
  faint[0, 0, 0, 0] = 0.2
  assert np.unique(layout.denormalise(faint, [0.0], [1.0])).tolist() == [26, 51]
  beyond = np.array([-np.inf, -1, 2, np.inf]).reshape(1, 1, 4, 1)
  assert layout.denormalise(beyond, [0.0], [1.0])[0, 0, :, 0].tolist() == [0, 0, 255, 255]


def test_denormalise_takes_jax_arrays_of_low_precision():
  shown = layout.denormalise(jnp.full((1, 2, 2, 3), 0.5, jnp.bfloat16), [0.0] * 3, [1.0] * 3)
  assert shown.dtype == np.uint8
  assert (shown == 128).all()


@pytest.mark.parametrize(
  ("mean", "std"), [((), ()), ((0.5,), (0.5, 0.5, 0.5)), ((0.5,) * 3, (1.0,))]
)
def test_denormalise_needs_statistics_of_every_channel(mean, std):
  with pytest.raises(BadInput, match="3 channels"):
    layout.denormalise(np.zeros((1, 2, 2, 3)), mean, std)


@pytest.mark.parametrize("content", [0.0, 128 / 255, 148 / 255, 1.0])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_nan_is_told_from_black_grey_and_white(content, channels):
  images = np.full((1, 8, 8, channels), content)
  images[:, :, 4:, -1 if channels < 4 else 0] = np.nan
  shown = layout.denormalise(images, [0.0] * channels, [1.0] * channels, scale=4)
  seen, hidden = shown[:, :, :16], shown[:, :, 16:]
  assert np.unique(seen).size == 1
  for rows in np.split(hidden, 4, axis=1):
    for patch in np.split(rows, 2, axis=2):
      assert np.unique(patch).tolist() == [layout.GREY, layout.STROKE]


@given(st.integers(1, 2000), st.integers(1, 2000))
def test_magnification_reaches_96_pixels_and_stops_there(height, width):
  scale = layout.magnification(height, width)
  small, large = sorted((height * scale, width * scale))
  assert layout.magnification(height * scale, width * scale) == 1
  assert small >= 96 or large + max(height, width) > 1024
  assert scale == 1 or (large <= 1024 and small - min(height, width) < 96)


def test_grid_places_every_image_whole_and_in_order():
  images = np.stack([flat(c) for c in COLOURS]).reshape(3, 2, 8, 8, 3)
  picture = layout.grid({"one": images[:, 0], "two": images[:, 1]})
  boxes = np.array([box(picture, c) for c in COLOURS]).reshape(3, 2, 5)
  assert (boxes[..., 4] == 96 * 96).all()
  top, bottom, left, right, _ = np.moveaxis(boxes, -1, 0)
  assert (top[:, 0] == top[:, 1]).all()
  assert (left == left[0]).all()
  assert (top[1:] > bottom[:-1]).all()
  assert (left[:, 1] > right[:, 0]).all()


def test_grid_takes_columns_of_other_sizes_and_a_scale():
  columns = {"a": flat(COLOURS[0], 8, 12)[None], "b": flat(COLOURS[1], 100, 200)[None]}
  picture = layout.grid(columns)
  assert box(picture, COLOURS[0])[4] == 96 * 144
  assert box(picture, COLOURS[1])[4] == 100 * 200
  assert box(layout.grid(columns, scale=2), COLOURS[0])[4] == 16 * 24


def test_titles_are_whole_and_apart():
  titles = ["HHHHHHHHHHHHHHHHHHHHHHHH", "gHHHHHHHHHHHHHHHHHHHHHHg", "HHHH"]
  picture = layout.grid({title: flat(COLOURS[0])[None] for title in titles})
  ink = (picture != np.uint8(layout.BACKGROUND)).any(axis=-1)
  top = box(picture, COLOURS[0])[0]
  header = ink[: top - 2]
  assert not ink[:, : layout.MARGIN - 2].any()
  assert not ink[:, 2 - layout.MARGIN :].any()
  assert not header[:4].any()
  assert not header[-3:].any()
  inked = np.flatnonzero(header.any(axis=0))
  assert (np.diff(inked) >= layout.GUTTER).sum() == 2
  gaps = np.flatnonzero(np.diff(inked) >= layout.GUTTER)
  widths = [part[-1] - part[0] for part in np.split(inked, gaps + 1)]
  lengths = [layout.ImageFont.load_default(layout.FONT_SIZE).getlength(t) for t in titles]
  assert all(abs(w - n) <= 4 for w, n in zip(widths, lengths, strict=True))


@pytest.mark.parametrize(
  "columns",
  [{}, {"a": np.zeros((0, 8, 8, 3), np.uint8)}, {"a": flat(0)[None], "b": flat([0])[None][[0, 0]]}],
)
def test_grid_needs_as_many_images_in_each_column(columns):
  with pytest.raises(BadInput, match="same number"):
    layout.grid(columns)


def test_save_png_round_trip_in_a_new_folder(tmp_path):
  image = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
  for written in (255 - image, image):
    layout.save_png(tmp_path / "views" / "7_reconstruction.png", written)
  [path] = (tmp_path / "views").iterdir()
  np.testing.assert_array_equal(np.asarray(Image.open(path)), image)


def test_save_png_that_fails_leaves_the_old_picture_alone(tmp_path, monkeypatch):
  path = tmp_path / "a.png"
  layout.save_png(path, flat(COLOURS[0]))
  before = path.read_bytes()

  def full(self, file, **_):
    file.write_bytes(b"half")
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(Image.Image, "save", full)
  with pytest.raises(OSError, match="No space"):
    layout.save_png(path, flat(COLOURS[1]))
  assert list(tmp_path.iterdir()) == [path]
  assert path.read_bytes() == before
