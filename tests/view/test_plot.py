"""What is drawn is where it belongs: higher means stand higher, every series has its line."""

import numpy as np

from maskjax.view.plot import curve, plot


def ink(image):
  """Rows and columns of the coloured pixels: lines and marks, not frame, grid or text."""
  image = image.astype(int)
  return np.nonzero(image.max(-1) - image.min(-1) > 60)


def test_points_are_ordered_and_averaged():
  places, means, spreads = curve([(0.9, [1.0, 2.0, 3.0]), (0.5, [4.0])])
  assert (places, means, spreads) == ([0.5, 0.9], [4.0, 2.0], [0.0, 1.0])


def test_the_line_follows_the_means():
  rising = plot({"": [(0, [0.0]), (1, [1.0])]})
  rows, columns = ink(rising)
  left, right = columns < np.median(columns), columns > np.median(columns)
  assert rows[left].mean() > rows[right].mean() + 50
  rows, columns = ink(plot({"": [(1, [0.0]), (0, [1.0])]}))
  assert rows[columns < np.median(columns)].mean() < rows[columns > np.median(columns)].mean() - 50


def test_spread_shows():
  point = lambda values: plot({"": [(0, values), (1, [0.0]), (1, [4.0])]})
  tight, wide = (len(ink(point(values))[0]) for values in ([2.0, 2.0], [1.0, 3.0]))
  assert wide > tight


def test_every_series_has_its_colour():
  image = plot({name: [(0, [i]), (1, [i + 1.0])] for i, name in enumerate("abc")}, x="x", y="y")
  assert image.dtype == np.uint8
  assert image.shape == (600, 900, 3)
  rows, columns = ink(image)
  strong = {tuple(pixel // 32) for pixel in image[rows, columns]}
  assert len(strong) >= 3
