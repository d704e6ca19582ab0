"""Tokens set as text in cells of one size: where each goes, its background, its glyphs."""

import functools
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskjax.errors import BadInput
from maskjax.view import grid as layout

FONT_SIZE = 16
CELL = 22, 10  # pixels (high, wide) of a character
PADDING = 6  # pixels between a panel's frame and its text
FINE = 4  # glyphs are drawn this much larger, then reduced: the font is not monospaced
PAPER = (255, 255, 255)
# Strokes of white space, in pixels of a cell (x, y).
SIGNS = {
  "\n": [[(8, 6), (8, 12), (1, 12)], [(4, 9), (1, 12), (4, 15)]],
  "\t": [[(1, 11), (8, 11)], [(5, 8), (8, 11), (5, 14)]],
}
FAINT = 0.6  # of the ink, for these

Colour = tuple[int, int, int]


def panels(
  rows: Sequence[Sequence[str]], fills: Sequence[Sequence[Colour | None]], columns: int
) -> list[layout.Picture]:
  """A picture of each row of tokens, all of one width, `columns` characters at most.

  A token keeps together: the line breaks before one that does not fit. Newlines and tabs are shown
  as arrows, without a break; what the font lacks is a frame.

  Args:
    rows: the tokens of each example, as strings.
    fills: the background of each token; the ink is dark on a light one, light on a dark one.
    columns: characters of a line.

  Raises:
    BadInput: without rows, or when `columns` is not positive.
  """
  if not rows:
    raise BadInput("a picture of text needs at least one row of tokens")
  if columns < 1:
    raise BadInput(f"columns must be at least 1, got {columns}")
  across = min(columns, max(1, max(sum(map(_width, row)) for row in rows)))
  return [_panel(row, fill, across) for row, fill in zip(rows, fills, strict=True)]


def _panel(row: Sequence[str], fills: Sequence[Colour | None], columns: int) -> layout.Picture:
  high, wide = CELL
  pieces = _flow([_width(token) for token in row], columns)
  lines = 1 + max((line for _, _, line, _, _ in pieces), default=0)
  size = 2 * PADDING + columns * wide, 2 * PADDING + lines * high
  page = Image.new("RGB", size, PAPER)
  draw = ImageDraw.Draw(page)
  for token, offset, line, column, length in pieces:
    left, top = PADDING + column * wide, PADDING + line * high
    fill = fills[token]
    if fill is not None:
      # A pixel less at the right and between lines tells neighbours apart.
      draw.rectangle((left, top + 1, left + length * wide - 2, top + high - 2), fill)
    ink = _ink(fill or PAPER)
    for i, character in enumerate(row[token][offset : offset + length]):
      page.paste(ink, (left + i * wide, top), _glyph(character))
  return np.array(page)


def _flow(lengths: Sequence[int], columns: int) -> list[tuple[int, int, int, int, int]]:
  """Where tokens go: (token, offset in it, line, column, length), several if longer than a line.

  >>> _flow([3, 2, 7], columns=4)
  [(0, 0, 0, 0, 3), (1, 0, 1, 0, 2), (2, 0, 2, 0, 4), (2, 4, 3, 0, 3)]
  """
  pieces, line, column = [], 0, 0
  for token, total in enumerate(lengths):
    for offset in range(0, total, columns):
      length = min(columns, total - offset)
      if column + length > columns:
        line, column = line + 1, 0
      pieces.append((token, offset, line, column, length))
      column += length
  return pieces


def _width(token: str) -> int:
  """Cells of a token: one a character, one for an empty token."""
  return max(1, len(token))


def _ink(fill: Colour) -> Image.Image:
  """A cell of ink that can be read on a background."""
  red, green, blue = fill
  light = 0.3 * red + 0.59 * green + 0.11 * blue
  return Image.new("RGB", CELL[::-1], layout.INK if light > 120 else PAPER)


@functools.lru_cache(maxsize=4096)
def _glyph(character: str) -> Image.Image:
  """How much ink a character puts where in its cell, 0 to 255; wide ones are squeezed."""
  high, wide = CELL
  font = ImageFont.load_default(FINE * FONT_SIZE)
  shows = character.isprintable()
  if shows and bytes(font.getmask(character)) != bytes(font.getmask("\U0010ffff")):
    across = max(FINE * wide, math.ceil(font.getlength(character)))
    mask = Image.new("L", (across, FINE * high))
    ImageDraw.Draw(mask).text((across / 2, FINE * 2), character, 255, font, anchor="ma")
  elif shows and ord(character) < 256:
    # The default font is little more than ASCII; Pillow's older one has all of Latin-1.
    mask = Image.new("L", (6, 14))
    ImageDraw.Draw(mask).text((0, 2), character, 170, ImageFont.load_default_imagefont())
  else:
    mask = Image.new("L", (FINE * wide, FINE * high))
    frame = FINE, FINE * 5, FINE * (wide - 2), FINE * (high - 6)
    if character in SIGNS:
      _stroke(mask, SIGNS[character])
    else:
      ImageDraw.Draw(mask).rectangle(frame, outline=160, width=FINE)
  return mask.resize((wide, high), Image.Resampling.LANCZOS)


def _stroke(mask: Image.Image, lines: Sequence[Sequence[tuple[int, int]]]) -> None:
  for line in lines:
    points = [(FINE * x, FINE * y) for x, y in line]
    ImageDraw.Draw(mask).line(points, round(255 * FAINT), FINE + 1, joint="curve")
