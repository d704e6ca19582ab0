"""Text pictures show which tokens are hidden, right, or late; transcripts put them in time."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.data import tokens as spelling
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.view import grid as layout
from maskjax.view.cells import CELL
from maskjax.view.legend import swatch, tint
from maskjax.view.text import HIDDEN, RIGHT, VEIL, WRONG, masks_text, page, reveal, reveal_picture

RECORD = Record("text", (6,), {"test": 2}, vocabulary=("a", "b", " ", "\n"), unit="characters")
HIGH, WIDE = CELL
BOX = (HIGH - 2) * (WIDE - 1)  # pixels of a token of one character
SWATCH = swatch(HIDDEN)[..., 0].size
decode = functools.partial(spelling.decode, record=RECORD)


def area(picture, colour):
  return int((picture == np.uint8(colour)).all(axis=-1).sum())


def blanks(*lengths):
  return [" " * length for length in lengths]


def test_page_without_arrays_is_the_text_alone():
  small, large = page([list("ab")]), page([list("ab"), list("ba"), []])
  assert small.dtype == np.uint8
  assert small.shape[1] == large.shape[1]
  assert small.shape[0] < large.shape[0]
  assert area(small, HIDDEN) == 0


def test_hidden_tokens_are_boxes_as_wide_as_they_are():
  rows = [["one", " two", "x", ""], ["three"]]
  for hidden in ([0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1]):
    mask = np.array([hidden, [0, 1, 1, 1]], bool)  # the second row has one token
    widths = [3, 4, 1, 1]
    # An empty token has a cell as well.
    expected = sum((HIGH - 2) * (w * WIDE - 1) for w, h in zip(widths, hidden, strict=True) if h)
    assert area(page(rows, mask), HIDDEN) == expected + SWATCH


def test_hidden_text_cannot_be_told():
  hidden = np.array([[True, False, True]])
  one, other = page([["abc", "-", "f"]], hidden), page([["xyz", "-", "g"]], hidden)
  np.testing.assert_array_equal(one, other)
  assert (one != page([["abc", "+", "f"]], hidden)).any()


def test_shade_colours_from_least_to_greatest():
  shade = np.array([[3.0, np.nan, 7.0, 5.0]])
  picture = page([blanks(1, 2, 3, 1)], shade=shade)
  ends = [area(picture, tint(level)) for level in (0, 1)]
  legend = swatch(HIDDEN).shape[0]  # one column of the bar
  assert ends == [BOX + legend, (HIGH - 2) * (3 * WIDE - 1) + legend]
  assert area(picture, tint(0.5)) == BOX
  bare = page([blanks(1, 2, 3, 1)], shade=np.full((1, 4), np.nan))
  np.testing.assert_array_equal(bare, page([blanks(1, 2, 3, 1)]))


def test_shade_beyond_a_row_does_not_count():
  rows = [blanks(1, 1), blanks(1)]
  beyond = page(rows, shade=np.array([[0.0, 1.0], [0.5, 99.0]]))
  np.testing.assert_array_equal(beyond, page(rows, shade=np.array([[0.0, 1.0], [0.5, np.nan]])))


def test_hidden_covers_shade():
  picture = page([blanks(1, 1)], np.array([[True, False]]), np.array([[0.0, 1.0]]))
  legend = swatch(HIDDEN).shape[0]
  assert area(picture, HIDDEN) == BOX + SWATCH
  assert area(picture, tint(0)) == legend
  assert area(picture, tint(1)) == BOX + legend


def test_columns_set_the_width_and_titles_fit():
  rows = [blanks(*[1] * 200)]
  narrow, wide = page(rows, columns=20), page(rows, columns=100)
  assert wide.shape[1] - narrow.shape[1] == 80 * WIDE
  assert narrow.shape[0] - wide.shape[0] == 8 * HIGH
  title = "a title of some length"
  length = layout.ImageFont.load_default(layout.FONT_SIZE).getlength(title)
  assert page(rows, columns=2, title=title).shape[1] >= length + 2 * layout.MARGIN


@pytest.mark.parametrize(
  ("arrays", "message"),
  [
    ({"hidden": np.zeros((1, 3), np.int32)}, "int32"),
    ({"hidden": np.zeros((1, 2), bool)}, r"hidden has shape \(1, 2\)"),
    ({"shade": np.zeros((2, 3))}, r"shade has shape \(2, 3\)"),
    ({"shade": np.zeros(3)}, r"shade has shape \(3,\)"),
  ],
)
def test_arrays_must_fit_the_rows(arrays, message):
  with pytest.raises(BadInput, match=message):
    page([list("abc")], **arrays)


def test_a_page_needs_rows():
  with pytest.raises(BadInput, match="one row"):
    page([], np.zeros((0, 3), bool), np.zeros((0, 3)))


def views(**changes):
  tokens = jnp.array([[0, 1, 2, 3, 0, 1], [1, 1, 1, 2, 2, 2]])
  hidden = jnp.array([[1, 0, 1, 0, 1, 0], [0, 0, 0, 0, 0, 1]], bool)
  prediction = jnp.where(hidden, jnp.array([[0, 0, 2, 0, 1, 0], [0, 0, 0, 0, 0, 0]]), tokens)
  return {"tokens": tokens, "hidden": hidden, "prediction": prediction} | changes


def test_masks_text_marks_hidden_right_and_wrong():
  picture = masks_text(views(), RECORD)
  assert area(picture, HIDDEN) == 4 * BOX
  blank = 1  # a space is right: nothing is written on its box
  assert blank * BOX + SWATCH < area(picture, RIGHT) < 2 * BOX + SWATCH
  assert BOX + SWATCH < area(picture, WRONG) < 2 * BOX + SWATCH


def test_masks_text_of_correct_predictions_and_of_nothing_hidden():
  blank = jnp.full((2, 6), 2)
  right = masks_text(views(tokens=blank, prediction=blank), RECORD)
  assert (area(right, RIGHT), area(right, WRONG)) == (4 * BOX + SWATCH, SWATCH)
  wrong = masks_text(views(prediction=jnp.full((2, 6), 2), tokens=blank - 1), RECORD)
  assert (area(wrong, RIGHT), area(wrong, WRONG)) == (SWATCH, 4 * BOX + SWATCH)
  seen = masks_text(views(hidden=np.zeros((2, 6), bool)), RECORD)
  assert (area(seen, HIDDEN), area(seen, RIGHT), area(seen, WRONG)) == (0, SWATCH, SWATCH)


def test_masks_text_without_prediction():
  without = masks_text({k: v for k, v in views().items() if k != "prediction"}, RECORD)
  assert area(without, HIDDEN) == 4 * BOX
  assert area(without, RIGHT) == area(without, WRONG) == 0
  assert without.shape[1] < masks_text(views(), RECORD).shape[1]


@pytest.mark.parametrize("name", ["tokens", "hidden"])
def test_masks_text_needs_both_views(name):
  with pytest.raises(BadInput, match=f"'{name}'"):
    masks_text({k: v for k, v in views().items() if k != name}, RECORD)


def transcript(text):
  """The lines of a transcript of one sample by step, their continuations joined."""
  title, *lines = text.split("\n")
  assert title == "sample 1"
  told, now = {}, -1
  for line in lines:
    head, body = line[:7], line[7:]
    now = int(head.split("/")[0]) if head.strip() else now
    told[now] = told.get(now, "") + body
  return told


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=1, max_size=40))
def test_reveal_shows_each_token_from_its_step_on(drawn):
  ids, step = (np.array(column)[None] for column in zip(*drawn, strict=True))
  told = transcript(reveal(ids, step, decode, columns=9))
  last = step.max()
  assert sorted(told) == sorted({int(last * quarter / 4) for quarter in range(5)})
  for now, line in told.items():
    expected = ["ab"[i] if s <= now else VEIL for i, s in zip(ids[0], step[0], strict=True)]
    assert line == "".join(expected)


def test_reveal_breaks_lines_only_in_the_end():
  ids, step = jnp.array([[0, 3, 1, 3]]), jnp.array([[0, 1, 2, 1]])
  told = reveal(ids, step, decode, moments=(0.5,)).split("\n")
  assert told == ["sample 1", "  1/2  a↵░↵", "  2/2  a", "       b"]


def test_reveal_decodes_neighbours_together():
  """Bytes of one character make it once all are there."""
  record = Record("text", (3,), {}, vocabulary=("\udcc3", "\udca9", "!"), unit="bpe")
  spell = functools.partial(spelling.decode, record=record)
  told = reveal(np.array([[0, 1, 2]]), np.array([[1, 2, 1]]), spell, moments=(0, 0.5))
  assert told.split("\n")[1:] == ["  0/2  ░░░", "  1/2  �░!", "  2/2  é!"]
  told.encode()
  assert reveal_picture(np.array([[0, 1, 2]]), np.array([[1, 2, 1]]), record).any()


def test_reveal_of_several_and_of_given_texts():
  ids = np.array([[0, 1], [1, 0]])
  text = reveal(ids, np.zeros((2, 2), int), decode)
  assert text == "sample 1\n  0/0  ab\nsample 2\n  0/0  ba"
  assert reveal(np.zeros((1, 0), int), np.zeros((1, 0), int), decode) == "sample 1\n  0/0"
  late = reveal(ids, np.array([[1, 100], [50, 25]]), decode, moments=())
  assert late == "sample 1\n  100/100  ab\nsample 2\n  100/100  ba"


def test_reveal_leaves_terminals_alone():
  odd = lambda ids: "\x1b[31m\r\x07\u202e\ud800\u00a0é漢\t"
  step = np.array([[0, 0]])
  told = reveal(np.array([[0, 0]]), step, odd, moments=())
  assert told == "sample 1\n  0/0  �[31m����\u00a0é漢"
  assert "é漢→" in reveal(np.array([[0, 0]]), np.array([[0, 1]]), odd, moments=(0,))


@pytest.mark.parametrize(
  ("step", "kwargs", "message"),
  [
    ([[0, -1]], {}, "got -1"),
    ([[0, 1, 2]], {}, "share a shape"),
    ([[0, 1]], {"moments": (0.5, 1.5)}, "from 0 to 1"),
    ([[0, 1]], {"moments": (float("nan"),)}, "from 0 to 1"),
    ([[0, 1]], {"columns": 0}, "at least 1"),
  ],
)
def test_reveal_refuses(step, kwargs, message):
  with pytest.raises(BadInput, match=message):
    reveal(np.array([[0, 1]]), np.array(step), decode, **kwargs)


def test_reveal_picture_shades_by_step_and_leaves_what_was_given():
  tokens, step = jnp.full((2, 3), 2), jnp.array([[0, 1, 5], [3, 5, 5]])
  picture = reveal_picture(tokens, step, RECORD, title="two samples")
  legend = swatch(HIDDEN).shape[0]
  assert area(picture, tint(0)) == BOX + legend
  assert area(picture, tint(0.5)) == BOX
  assert area(picture, tint(1)) == 3 * BOX + legend
  given = reveal_picture(tokens, jnp.zeros((2, 3), int), RECORD)
  np.testing.assert_array_equal(given, page([blanks(1, 1, 1)] * 2))
