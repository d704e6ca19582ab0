"""Pictures of text and transcripts of its decoding: what is hidden, predicted, revealed when."""

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from maskjax.errors import BadInput, unknown
from maskjax.record import Record
from maskjax.view import grid as layout
from maskjax.view.cells import Colour, panels
from maskjax.view.legend import Entries, bar, swatch, tint, under_legend

HIDDEN = (92, 98, 110)
RIGHT, WRONG = (174, 222, 196), (250, 196, 152)
VEIL = "░"
SIGNS = {"\n": "↵", "\t": "→"}

Tokens = Sequence[Sequence[str]]
Fills = Sequence[Sequence[Colour | None]]


def page(
  rows: Tokens,
  hidden: Bool[Array | np.ndarray, "b n"] | None = None,
  shade: Float[Array | np.ndarray, "b n"] | None = None,
  *,
  columns: int = 64,
  title: str = "",
  meaning: str = "",
) -> layout.Picture:
  """Draws rows of tokens as text of fixed width, hidden ones as filled boxes.

  A token keeps together: the line breaks before one that does not fit. Newlines and tabs are shown
  as arrows, without a break, so that rows of characters line up; what the font lacks is a frame.

  Args:
    rows: the tokens of each example, as strings; rows of at most `n` tokens.
    hidden: which tokens are boxes.
    shade: colours the background of each token, from the least to the greatest; NaN leaves it bare.
    columns: characters of a line.
    title: stands above.
    meaning: of `shade`, for the legend.

  Raises:
    BadInput: without rows, or when `hidden` is not bool or an array does not fit the rows.
  """
  fills, entries = _shaded(rows, shade, meaning) if shade is not None else (_bare(rows), [])
  if hidden is not None:
    boxes = _hidden(hidden, rows)
    rows, fills = _boxed(rows, fills, boxes)
    entries = [[swatch(HIDDEN), _share(boxes, rows)], *entries]
  drawn = [[panel] for panel in panels(rows, fills, columns)]
  return under_legend(layout.sheet(drawn, [title] if title else ()), entries)


def masks_text(views: Mapping[str, Any], record: Record, *, columns: int = 32) -> layout.Picture:
  """Shows texts, what the model sees of them, and, where it is viewed, what it predicts.

  Args:
    views: a task's `views`: "tokens", Int[b, n], "hidden", Bool[b, n], and maybe "prediction",
      Int[b, n], which is coloured right or wrong where hidden.
    record: whose vocabulary the tokens are of.
    columns: characters of a line.

  Raises:
    BadInput: when "tokens" or "hidden" is not among the views, or there are no examples.
  """
  for name in ("tokens", "hidden"):
    if name not in views:
      raise unknown("view", name, views)
  tokens = np.asarray(views["tokens"])
  rows = _spell(tokens, record)
  hidden = _hidden(views["hidden"], rows)
  shown = {
    "text": panels(rows, _bare(rows), columns),
    f"model sees, {_share(hidden, rows)}": panels(*_boxed(rows, _bare(rows), hidden), columns),
  }
  entries: Entries = []
  if "prediction" in views:
    guesses = np.asarray(views["prediction"])
    right = guesses == tokens
    kinds = np.where(hidden, np.where(right, 1, 2), 0).tolist()
    fills = [[(None, RIGHT, WRONG)[kind] for kind in row] for row in kinds]
    title = f"prediction, {100 * right[hidden].mean():.3g}% right" if hidden.any() else "prediction"
    shown[title] = panels(_spell(guesses, record), fills, columns)
    entries = [[swatch(RIGHT), "right"], [swatch(WRONG), "wrong"]]
  picture = layout.sheet(list(zip(*shown.values(), strict=True)), list(shown))
  return under_legend(picture, entries)


def reveal(
  tokens: Int[Array | np.ndarray, "b n"],
  step: Int[Array | np.ndarray, "b n"],
  decode: Callable[[list[int]], str],
  *,
  moments: Sequence[float] = (0, 0.25, 0.5, 0.75, 1),
  columns: int = 72,
) -> str:
  r"""Tells for the terminal how texts came to be: at several moments of decoding, and in the end.

  A token that is not yet revealed is one ░. Before the end, newlines are shown as ↵ and tabs as →,
  so that what is revealed stays in its place; the text at the end has its own line breaks.

  Args:
    tokens: ids of the finished texts.
    step: when each was revealed, 0 for those that were given.
    decode: turns ids into text; neighbours come together, as bytes may make a character jointly.
    moments: shares of all steps, in [0, 1]; the end is always told.
    columns: characters of a line, those that number the steps left out.

  Raises:
    BadInput: when `step` is negative or not of the tokens' shape, a moment is out of range, or
      `columns` is not positive.

  >>> decode = lambda ids: "".join("abc\n"[i] for i in ids)
  >>> print(reveal(np.array([[0, 1, 3, 2]]), np.array([[0, 2, 1, 2]]), decode))
  sample 1
    0/2  a░░░
    1/2  a░↵░
    2/2  ab
         c
  """
  tokens, step = _steps(tokens, step)
  if not all(0 <= moment <= 1 for moment in moments):
    raise BadInput(f"moments are shares of the steps, from 0 to 1, got {tuple(moments)}")
  if columns < 1:
    raise BadInput(f"columns must be at least 1, got {columns}")
  last = int(step.max(initial=0))
  told = sorted({*(math.floor(moment * last) for moment in moments), last})
  lines = []
  for sample, (ids, when) in enumerate(zip(tokens, step, strict=True), 1):
    lines.append(f"sample {sample}")
    for now in told:
      known = _veiled(ids, when <= now, decode)
      parts = _printable(known, keep="\n\t").split("\n") if now == last else [_printable(known)]
      parts = [part[i : i + columns] for part in parts for i in range(0, len(part) or 1, columns)]
      head = f"  {now:{len(str(last))}}/{last}  "
      heads = [head, *[" " * len(head)] * (len(parts) - 1)]
      lines += [(head + part).rstrip() for head, part in zip(heads, parts, strict=True)]
  return "\n".join(lines).rstrip("\n")


def reveal_picture(
  tokens: Int[Array | np.ndarray, "b n"],
  step: Int[Array | np.ndarray, "b n"],
  record: Record,
  *,
  columns: int = 64,
  title: str = "",
) -> layout.Picture:
  """Draws finished texts, each token shaded by the step at which it was revealed.

  Tokens that were given (step 0) are bare.

  Args:
    tokens: ids of the finished texts.
    step: when each was revealed, 0 for those that were given.
    record: whose vocabulary the tokens are of.
    columns: characters of a line.
    title: stands above.

  Raises:
    BadInput: when `step` is negative or not of the tokens' shape, or there are no samples.
  """
  tokens, step = _steps(tokens, step)
  shade = np.where(step > 0, step, np.nan)
  rows = _spell(tokens, record)
  return page(rows, shade=shade, columns=columns, title=title, meaning="revealed at step")


def _steps(tokens: Any, step: Any) -> tuple[np.ndarray, np.ndarray]:
  tokens, step = np.asarray(tokens), np.asarray(step)
  if tokens.ndim != 2 or tokens.shape != step.shape:
    raise BadInput(f"tokens and step share a shape (b, n), got {tokens.shape} and {step.shape}")
  if step.size and step.min() < 0:
    raise BadInput(f"a step is 0 (given) or more, got {step.min()}")
  return tokens, step


def _spell(tokens: np.ndarray, record: Record) -> list[list[str]]:
  return [[record.vocabulary[i] for i in row] for row in tokens.tolist()]


def _veiled(ids: np.ndarray, known: np.ndarray, decode: Callable[[list[int]], str]) -> str:
  """The text of what is known, neighbours decoded together, with one veil a token elsewhere."""
  runs = np.split(np.arange(len(ids)), np.flatnonzero(np.diff(known)) + 1)
  told = (decode(ids[run].tolist()) if known[run].all() else VEIL * len(run) for run in runs)
  return "".join(told)


def _printable(string: str, keep: str = "") -> str:
  """A text that does nothing to a terminal: line breaks and tabs as signs, other controls as �.

  >>> _printable("a\\tb\\n\\x1b[0m")
  'a→b↵�[0m'
  """
  plain = lambda c: c in keep or c.isprintable() or unicodedata.category(c) == "Zs"
  return "".join(c if plain(c) else SIGNS.get(c, "�") for c in string)


def _fitting(name: str, array: Any, rows: Tokens) -> np.ndarray:
  """The array, which has a row of at least as many entries for each row of tokens."""
  array = np.asarray(array)
  longest = max(map(len, rows), default=0)
  if array.ndim != 2 or len(array) != len(rows) or array.shape[1] < longest:
    raise BadInput(f"{len(rows)} rows of {longest} tokens, but {name} has shape {array.shape}")
  return array


def _hidden(array: Any, rows: Tokens) -> np.ndarray:
  hidden = _fitting("hidden", array, rows)
  if hidden.dtype != bool:
    raise BadInput(f"hidden is bool, True = hidden, got {hidden.dtype}")
  return hidden


def _boxed(rows: Tokens, fills: Fills, hidden: np.ndarray) -> tuple[Tokens, Fills]:
  """Blanks as wide as the tokens on boxes, where hidden."""
  blanks = [
    [" " * len(token) if covered else token for token, covered in zip(row, line, strict=False)]
    for row, line in zip(rows, hidden, strict=True)
  ]
  boxes = [
    [HIDDEN if covered else fill for fill, covered in zip(row, line, strict=False)]
    for row, line in zip(fills, hidden, strict=True)
  ]
  return blanks, boxes


def _bare(rows: Tokens) -> Fills:
  return [[None] * len(row) for row in rows]


def _share(hidden: np.ndarray, rows: Tokens) -> str:
  """How much of the tokens is hidden."""
  total = sum(map(len, rows))
  count = sum(int(c[: len(row)].sum()) for c, row in zip(hidden, rows, strict=True))
  return f"{100 * count / max(total, 1):.3g}% hidden"


def _shaded(rows: Tokens, values: Any, meaning: str) -> tuple[Fills, Entries]:
  """The colour of each token, and what the legend says of it."""
  values = _fitting("shade", values, rows)
  inside = np.arange(values.shape[1]) < np.array([len(row) for row in rows])[:, None]
  values = np.where(inside, values, np.nan)
  finite = values[np.isfinite(values)]
  if not finite.size:
    return _bare(rows), []
  low, high = finite.min(), finite.max()
  levels = (values - low) / ((high - low) or 1)
  fills = [
    [tint(level) if np.isfinite(level) else None for level in line[: len(row)]]
    for line, row in zip(levels, rows, strict=True)
  ]
  number = lambda x: f"{x:.0f}" if x == round(x) else f"{x:.3g}"
  return fills, [[f"{meaning} {number(low)}".strip(), bar(), number(high)]]
