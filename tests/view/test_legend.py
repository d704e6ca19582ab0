"""Legends show every colour whole, in order, above a picture that they leave as it is."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.view import grid as layout
from maskjax.view.legend import bar, swatch, tint, under_legend

RED, BLUE = (200, 0, 0), (0, 0, 200)


def lightness(colour):
  return float(np.dot(colour, (0.3, 0.59, 0.11)))


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_scale_gets_darker(one, other):
  low, high = sorted((one, other))
  assert lightness(tint(low)) >= lightness(tint(high)) - 0.7  # the rounding of three channels
  assert high - low < 0.02 or tint(low) != tint(high)


def test_bar_is_the_scale():
  assert tuple(bar()[0, 0]) == tint(0)
  assert tuple(bar()[-1, -1]) == tint(1)
  assert (bar() == bar()[:1]).all()


def test_legend_widens_and_leaves_the_picture():
  picture = np.full((30, 40, 3), 7, np.uint8)
  shown = under_legend(picture, [[swatch(RED), "one"], [swatch(BLUE), "other"]])
  assert (shown[-30:, :40] == picture).all()
  assert (shown[-30:, 40:] == layout.BACKGROUND).all()
  reds, blues = (np.argwhere((shown == np.uint8(c)).all(-1)) for c in (RED, BLUE))
  assert len(reds) == len(blues) == swatch(RED)[..., 0].size
  assert (reds[:, 0] == blues[:, 0]).all()
  assert reds[:, 1].max() < blues[:, 1].min()
  inked = np.flatnonzero((shown[:-30] != layout.BACKGROUND).any(axis=(0, 2)))
  assert inked.min() == layout.MARGIN - 1
  assert inked.max() < shown.shape[1] - layout.MARGIN


def test_nothing_to_explain_leaves_the_picture_alone():
  picture = np.full((3, 4, 3), 7, np.uint8)
  assert under_legend(picture, []) is picture
