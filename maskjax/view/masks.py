"""Pictures of masks: alone, and on the images that they hide."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from maskjax.errors import BadInput, unknown
from maskjax.record import Record
from maskjax.view import grid as layout
from maskjax.view import spectrogram

SEEN = (92, 142, 196)
ASKED = 3  # classes that are named of a target, those with the largest shares
LINE = (226, 226, 224)  # between positions, where there is room for it
PAGE = 900  # pixels that masks fill across, before they go to the next row
LINED = 10  # pixels of the smallest position that gets lines around it


def masks(views: Mapping[str, Any], record: Record) -> layout.Picture:
  """Shows images, what is hidden of them, and what the model sees; no trained weights are needed.

  Args:
    views: a task's `views`: "input" and "seen", Float[b, h, w, c], "seen" NaN where hidden, or
      anything where "hidden", Bool[b, h, w] or a gate, says so; if there are any, the images of
      "other" that hide, and the "target", Float[b, classes], whose classes are named. What else
      there is (predictions) is left out.
    record: whose mean and deviation the images were normalised by.

  Raises:
    BadInput: when "input" or "seen" is not among the views.
  """
  for name in ("input", "seen"):
    if name not in views:
      raise unknown("view", name, views)
  image, seen = (np.asarray(views[name]).astype(np.float32) for name in ("input", "seen"))
  scale = layout.magnification(*image.shape[1:3])
  show = lambda x: spectrogram.shown(x, record, scale=scale)
  hidden = np.asarray(views["hidden"] if "hidden" in views else np.isnan(seen).any(axis=-1))
  hidden = spectrogram.turned(hidden if hidden.dtype == bool else np.equal(hidden, 0), record)
  columns = {"input": show(image)}
  if "other" in views:
    columns["other"] = show(np.asarray(views["other"]).astype(np.float32))
  columns[_share(hidden)] = _paint(layout.magnify(hidden, scale))
  columns["model sees"] = show(seen)
  if "target" in views:
    height = scale * hidden.shape[1]
    columns["asked"] = _named(np.asarray(views["target"]), record.class_names, height)
  return layout.grid(columns, scale=1)


def mask_grid(hidden: Bool[Array | np.ndarray, "b n"], grid: tuple[int, ...]) -> layout.Picture:
  """Draws a batch of masks: `(h, w)` as tiles, `(t, h, w)` as rows of frames, `(n,)` as strips.

  Raises:
    BadInput: when `hidden` is not bool or empty, or the grid has other than its `n` positions.
  """
  hidden = np.asarray(hidden)
  if hidden.dtype != bool or hidden.ndim != 2 or not hidden.size:
    raise BadInput(
      f"a batch of masks is bool of shape (b, n), got {hidden.dtype} of shape {hidden.shape}"
    )
  if not 1 <= len(grid) <= 3 or math.prod(grid) != hidden.shape[1]:
    raise BadInput(f"{hidden.shape[1]} positions need a grid (n,), (h, w) or (t, h, w), got {grid}")
  frames, height, width = (1,) * (3 - len(grid)) + tuple(grid)
  cell = _cell(frames, height, width) if len(grid) > 1 else _strip_cell(width)
  tiles = [_tile(m, cell) for m in hidden.reshape(-1, height, width)]
  across = frames if len(grid) != 2 else max(1, PAGE // tiles[0].shape[1])
  rows = [tiles[i : i + across] for i in range(0, len(tiles), across)]
  return _under_legend(layout.sheet(rows), _share(hidden))


def _cell(frames: int, height: int, width: int) -> tuple[int, int]:
  """Pixels of a position: those of an image of this size, fewer where many frames share a row."""
  size = layout.magnification(height, width)
  size = size if frames == 1 else max(4, min(size, PAGE // (frames * width)))
  return size, size


def _strip_cell(width: int) -> tuple[int, int]:
  """Pixels of a position of a one-dimensional mask: all of it in one row, high enough to see."""
  return 16, max(1, min(16, PAGE // width))


def _tile(hidden: Bool[np.ndarray, "h w"], cell: tuple[int, int]) -> layout.Picture:
  """One mask, `cell` pixels (high, wide) a position."""
  picture = _paint(hidden.repeat(cell[0], axis=0).repeat(cell[1], axis=1)[None])[0]
  if min(cell) >= LINED:
    picture[cell[0] :: cell[0]] = LINE
    picture[:, cell[1] :: cell[1]] = LINE
  return picture


def _paint(hidden: Bool[np.ndarray, "b h w"]) -> np.ndarray:
  """Plain colour where a position is seen, hatched where hidden."""
  return layout.hatch(np.full((*hidden.shape, 3), SEEN, np.uint8), hidden)


def _named(
  target: Float[np.ndarray, "b classes"], names: Sequence[str], height: int
) -> UInt8[np.ndarray, "b h w 3"]:
  """The classes of each target with their shares, as pictures of text of this height."""
  font, above = ImageFont.load_default(layout.FONT_SIZE), layout.GUTTER // 2
  best = np.argsort(-target, axis=-1, kind="stable")[:, :ASKED]
  texts = [
    "\n".join(f"{100 * row[i]:.1f} % {names[i]}" for i in order if row[i] > 0)
    for row, order in zip(target, best, strict=True)
  ]
  lines = [line for text in texts for line in text.split("\n")]
  width = 2 * above + math.ceil(max(font.getlength(line) for line in lines))
  pictures = []
  for text in texts:
    page = Image.new("RGB", (width, height), layout.BACKGROUND)
    ImageDraw.Draw(page).multiline_text((above, above), text, layout.INK, font)
    pictures.append(np.array(page))
  return np.stack(pictures)


def _share(hidden: np.ndarray) -> str:
  return f"{100 * hidden.mean():.3g}% hidden"


def _under_legend(picture: layout.Picture, hidden: str) -> layout.Picture:
  """Puts a line above that tells which colour is seen and which is hidden, widening if it must."""
  font = ImageFont.load_default(layout.FONT_SIZE)
  side, margin, gutter = layout.line_height(font), layout.MARGIN, layout.GUTTER
  entries = [("seen", _paint(np.zeros((1, side, side), bool))[0])]
  entries += [(hidden, _paint(np.ones((1, side, side), bool))[0])]
  width = margin + sum(side + 3 * gutter + math.ceil(font.getlength(t)) for t, _ in entries)
  above = margin + side
  size = max(picture.shape[1], width), above + picture.shape[0]
  page = Image.new("RGB", size, layout.BACKGROUND)
  page.paste(Image.fromarray(picture), (0, above))
  left = margin
  for text, swatch in entries:
    layout.place(page, swatch, left, margin)
    left += side + gutter
    ImageDraw.Draw(page).text((left, margin), text, layout.INK, font, anchor="la")
    left += math.ceil(font.getlength(text)) + 2 * gutter
  return np.array(page)
