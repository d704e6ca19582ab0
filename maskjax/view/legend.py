"""The line above a picture that says what its colours mean, and a scale of colours."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskjax.view import grid as layout
from maskjax.view.cells import Colour

BAR = 120  # pixels of the scale across
# Light to dark, each lightness once, so that it can be told without colour vision.
SCALE = np.array([(254, 238, 170), (168, 219, 160), (76, 174, 178), (54, 108, 166), (62, 44, 112)])

Entries = list[list[str | layout.Picture]]


def under_legend(picture: layout.Picture, entries: Entries) -> layout.Picture:
  """Puts a line of entries, each of words and swatches, above a picture, widening if it must."""
  if not entries:
    return picture
  font, side = ImageFont.load_default(layout.FONT_SIZE), _side()
  across = lambda x: math.ceil(font.getlength(x)) if isinstance(x, str) else x.shape[1]
  steps = [[across(x) + layout.GUTTER for x in entry] for entry in entries]
  width = 2 * layout.MARGIN + sum(map(sum, steps)) + 2 * layout.GUTTER * (len(entries) - 1)
  above = layout.MARGIN + side + 1  # the frame of a swatch
  size = max(picture.shape[1], width), above + picture.shape[0]
  page = Image.new("RGB", size, layout.BACKGROUND)
  page.paste(Image.fromarray(picture), (0, above))
  left = layout.MARGIN
  for entry, widths in zip(entries, steps, strict=True):
    for item, step in zip(entry, widths, strict=True):
      if isinstance(item, str):
        ImageDraw.Draw(page).text((left, layout.MARGIN), item, layout.INK, font, anchor="la")
      else:
        layout.place(page, item, left, layout.MARGIN)
      left += step
    left += 2 * layout.GUTTER
  return np.array(page)


def tint(level: float) -> Colour:
  """The colour of the scale at `level`, in [0, 1].

  >>> tint(0.0), tint(1.0)
  ((254, 238, 170), (62, 44, 112))
  """
  stops = np.linspace(0, 1, len(SCALE))
  red, green, blue = (round(float(np.interp(level, stops, channel))) for channel in SCALE.T)
  return red, green, blue


def bar() -> layout.Picture:
  """The whole scale, from left to right."""
  colours = [[tint(level) for level in np.linspace(0, 1, BAR)]]
  return np.array(colours, np.uint8).repeat(_side(), axis=0)


def swatch(colour: Colour) -> layout.Picture:
  """A square of one colour, as high as a line."""
  return np.full((_side(), _side(), 3), colour, np.uint8)


def _side() -> int:
  return layout.line_height(ImageFont.load_default(layout.FONT_SIZE))
