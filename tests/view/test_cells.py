"""Every token has its cells, whatever it is made of, and none of them is lost or shared."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.errors import BadInput
from maskjax.view.cells import CELL, PADDING, PAPER, _flow, panels

RED = (200, 0, 0)
HIGH, WIDE = CELL


def red(picture):
  return (picture == np.uint8(RED)).all(axis=-1)


def cells(picture):
  """A picture's cells, `[line, column, high, wide, 3]`."""
  inside = picture[PADDING:-PADDING, PADDING:-PADDING]
  lines, columns = inside.shape[0] // HIGH, inside.shape[1] // WIDE
  return inside.reshape(lines, HIGH, columns, WIDE, 3).swapaxes(1, 2)


def cell(character):
  [picture] = panels([[character]], [[None]], columns=1)
  return cells(picture)[0, 0]


@given(st.lists(st.integers(1, 30)), st.integers(1, 20))
def test_flow_keeps_order_and_tokens_together(lengths, columns):
  pieces = _flow(lengths, columns)
  taken = [(line, column + i) for _, _, line, column, n in pieces for i in range(n)]
  assert taken == sorted(set(taken))
  assert all(0 <= column < columns for _, column in taken)
  for token, length in enumerate(lengths):
    own = [piece for piece in pieces if piece[0] == token]
    assert [offset for _, offset, *_ in own] == list(range(0, length, columns))
    assert sum(piece[4] for piece in own) == length
    assert len(own) == 1 or length > columns


def test_backgrounds_lie_where_the_tokens_are():
  row = ["abc", "de", "f", "gh"]
  for token, (line, column) in enumerate([(0, 0), (1, 0), (1, 2), (2, 0)]):
    fills = [RED if i == token else None for i in range(4)]
    [picture] = panels([[" " * len(t) for t in row]], [fills], columns=4)
    assert picture.shape == (2 * PADDING + 3 * HIGH, 2 * PADDING + 4 * WIDE, 3)
    drawn = cells(picture)
    found = red(drawn).any(axis=(2, 3))
    expected = np.zeros((3, 4), bool)
    expected[line, column : column + len(row[token])] = True
    np.testing.assert_array_equal(found, expected)
    # A pixel of paper is left between neighbours and between lines.
    assert red(picture).sum() == (HIGH - 2) * (WIDE * len(row[token]) - 1)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.text(st.characters(codec=None), max_size=9), max_size=9), min_size=1))
def test_any_string_is_drawn_and_panels_share_a_width(rows):
  drawn = panels(rows, [[None] * len(row) for row in rows], columns=7)
  assert len(drawn) == len(rows)
  assert len({picture.shape[1] for picture in drawn}) == 1
  assert all(picture.dtype == np.uint8 for picture in drawn)


@pytest.mark.parametrize("character", ["a", "W", "~", "\n", "\t", "é", "£", "漢", "\ud800", "\x1b"])
def test_what_is_there_can_be_seen_within_its_cell(character):
  drawn = cell(character)
  assert (drawn < 140).any()
  assert (drawn[0] == PAPER).all()
  assert (drawn[-1] == PAPER).all()


@pytest.mark.parametrize("empty", [" ", ""])
def test_empty_and_blank_tokens_take_one_empty_cell(empty):
  assert (cell(empty) == PAPER).all()


def test_signs_differ_from_each_other_and_from_what_the_font_lacks():
  looks = {cell(character).tobytes() for character in [" ", "\n", "\t", "\ud800", "-", "ü", "u"]}
  assert len(looks) == 7
  assert (cell("漢") == cell("\ud800")).all()


@pytest.mark.parametrize(("fill", "light"), [((62, 44, 112), True), ((254, 238, 170), False)])
def test_ink_can_be_read_on_its_background(fill, light):
  [picture] = panels([["M"]], [[fill]], columns=1)
  grey = cells(picture)[0, 0, 1:-1, :-1].mean(-1)
  assert (grey > np.mean(fill) + 60 if light else grey < np.mean(fill) - 60).any()
  assert not (grey > np.mean(fill) + 60 if not light else grey < np.mean(fill) - 60).any()


@pytest.mark.parametrize(
  ("rows", "columns", "message"), [([], 4, "one row"), ([["a"]], 0, "got 0")]
)
def test_bad_arguments(rows, columns, message):
  with pytest.raises(BadInput, match=message):
    panels(rows, [[None]] * len(rows), columns)
