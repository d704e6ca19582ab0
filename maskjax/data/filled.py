"""A csv file as it stands, with numbers written into its missing cells and nowhere else."""

import csv
import io
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from maskjax.data import cells
from maskjax.errors import BadInput


class Span(NamedTuple):
  """Where a cell stands in a text, its quotes included."""

  begin: int
  end: int


def spans(content: str, delimiter: str) -> list[list[Span]]:
  r"""Where the cells of each row stand; an empty line is one empty cell.

  >>> spans('a,"b\n"\n1', ",")
  [[Span(begin=0, end=1), Span(begin=2, end=6)], [Span(begin=7, end=8)]]
  """
  cell = re.compile(rf'(?:"(?:[^"]|"")*")?[^{re.escape(delimiter)}\r\n]*')
  rows: list[list[Span]] = [[]]
  at = 0
  while True:
    found = cell.match(content, at)
    assert found is not None  # it may be empty
    rows[-1].append(Span(*found.span()))
    at = found.end()
    if at == len(content):
      return rows
    if content[at] == delimiter:
      at += 1
    else:
      at += 2 if content.startswith("\r\n", at) else 1
      rows.append([])


def file(
  path: str,
  values: Float[np.ndarray, "r c"],
  known: Bool[np.ndarray, "r c"],
  *,
  delimiter: str = "",
  decimal: str = ".",
  **how: Any,
) -> str:
  """The text of a csv file whose cells that are not `known` are `values`; all others as they stand.

  Args:
    path: the file, which `cells.numbers` reads with the other arguments.
    values: a number for each cell of its columns of numbers.
    known: the cells that stay.
    delimiter: as in `cells.numbers`.
    decimal: likewise.
    how: its other arguments.

  Raises:
    BadInput: another table than `values` is for.
  """
  read = cells.numbers(path, delimiter, decimal, **how)
  content = cells.content_of(path)
  rows = spans(content, delimiter or cells.delimiter_of(content, decimal))
  empty = lambda row: len(row) == 1 and row[0].begin == row[0].end
  while rows and empty(rows[-1]):
    rows.pop()
  single = max(map(len, rows)) == 1
  # The header, where there is one, is above.
  body = [row for row in rows if single or not empty(row)][-len(read.table) :]
  if read.table.shape != values.shape or len({len(row) for row in body}) != 1:
    raise BadInput(f"{path} is not the table that was read before")
  pieces, at = [], 0
  for row, column in np.argwhere(~known).tolist():
    begin, end = body[row][read.at[column]]
    pieces += [content[at:begin], f"{values[row, column]:.7g}".replace(".", decimal)]
    at = end
  return "".join([*pieces, content[at:]])


def text(
  names: Sequence[str],
  table: Float[np.ndarray, "r c"],
  values: Float[np.ndarray, "r c"],
  known: Bool[np.ndarray, "r c"],
) -> str:
  """A table as csv text with a header, all digits of what is `known` in it, `values` elsewhere.

  >>> table, values = np.array([[0.1, np.nan]]), np.array([[9.0, 8.0]])
  >>> print(text(["a", "b"], table, values, ~np.isnan(table)), end="")
  a,b
  0.10000000000000001,8
  """
  out = io.StringIO()
  writer = csv.writer(out, lineterminator="\n")
  writer.writerow(names)
  show = lambda row, i: f"{table[row, i]:.17g}" if known[row, i] else f"{values[row, i]:.7g}"
  writer.writerows([show(row, i) for i in range(len(names))] for row in range(len(table)))
  return out.getvalue()
