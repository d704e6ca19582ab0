"""Pictures of tables: larger is darker, nothing is hatched that is there."""

import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.view import grid as layout
from maskjax.view.heat import CELL, heat, masks_table
from maskjax.view.reconstruction import draw

RECORD = Record("table", (3, 1), {}, mean=(0.0,), std=(1.0,))


def cells(picture, rows, columns):
  """The cells of the one table in a picture, [rows, columns, side, side, 3]."""
  high, wide = rows * CELL, columns * CELL
  bottom, right = picture.shape[0] - layout.MARGIN, layout.MARGIN + wide
  part = picture[bottom - high : bottom, right - wide : right]
  return part.reshape(rows, CELL, columns, CELL, 3).swapaxes(1, 2)


def test_larger_values_are_darker_and_what_is_missing_is_hatched():
  columns = 20  # wider than the legend
  table = np.tile(np.linspace(0, 1, columns), (2, 1))
  table[1, 7] = np.nan
  found = cells(heat({"x": table}), 2, columns)
  light = found[0].mean((1, 2)) @ [0.3, 0.59, 0.11]
  assert (np.diff(light) < 0).all()
  spread = found.astype(float).std((2, 3)).max(-1)
  assert spread[1, 7] > 1
  spread[1, 7] = 0
  assert spread.max() == 0
  np.testing.assert_array_equal(found[0, 3], found[1, 3])


def test_values_beyond_the_scale_get_its_end():
  table = np.tile([-1.0, 0.0, 1.0, 9.0], (1, 5))
  found = cells(heat({"x": table}), 1, 20)[0]
  np.testing.assert_array_equal(found[0], found[1])
  np.testing.assert_array_equal(found[2], found[3])


def test_views_of_rows_are_tables():
  views = {name: np.full((5, 3, 1), 0.5) for name in ("prediction", "seen", "input", "pasted")}
  assert draw(views, RECORD).shape[1] > masks_table(views, RECORD).shape[1]
  with pytest.raises(BadInput, match="seen"):
    masks_table({"input": views["input"]}, RECORD)


@pytest.mark.parametrize("tables", [{}, {"a": np.ones((2, 2)), "b": np.ones((3, 2))}])
def test_tables_have_as_many_rows(tables):
  with pytest.raises(BadInput, match="number of rows"):
    heat(tables)
