"""What the docstring of a config says: its paper, the paper's claim, and what was measured.

Its sections begin at the margin with a word and a colon, and their other lines are indented:

    Paper: AUTHORS. "TITLE", VENUE YEAR, arXiv:NUMBER; code at ADDRESS.
    Family: of a base that is also a method of one.
    Claim: the main figure, a sentence that tables show. Further figures.
    Measured: DATA, PRESET, seeds, machine, date and command:

           | run       | METRIC        | METRIC       |
           |-----------|---------------|--------------|
           | untrained | 0.621 ± 0.030 | not measured |

           What the figures mean, without the figures: *reproduced*, *opposite*, *not visible at
           this scale* or *not measured*, each of a part of the claim where they are several.
    Run:   COMMAND

"Measured" may hold several tables, each after what it was measured under. Rows are runs, columns
metrics; a cell is a figure, "not measured", or "-" where a metric does not apply. Where the method
has changed since, a sentence says so: "Measured before WHAT; not measured since."
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from maskjax.errors import BadInput

WITHOUT = ("not measured", "-")
STATES = ("reproduced", "opposite", "not visible at this scale", "not measured")
WIDTH = 100


class Table(NamedTuple):
  """One table of what was measured.

  Attributes:
    under: what stands before it: data, preset, seeds, machine, date and command.
    rows: `{run: {metric: figure}}`, figures as they are written.
  """

  under: str
  rows: dict[str, dict[str, str]]


def title(doc: str) -> str:
  """The title of the paper: what is quoted first in its section.

  Raises:
    BadInput: there is no such section, or nothing is quoted in it.

  >>> title('MAE.\\n\\nPaper: "Masked Autoencoders Are\\n       Scalable", CVPR 2022.')
  'Masked Autoencoders Are Scalable'
  """
  quoted = re.search(r'"([^"]+)"', "\n".join(section(doc, "Paper")))
  if not quoted:
    raise BadInput('the docstring names no paper (Paper: "TITLE", …)')
  return " ".join(quoted[1].split())


def citation(doc: str) -> str:
  """The paper: authors, title, venue, where it and its code are.

  >>> citation('Paper: He. "MAE", CVPR 2022,\\n       arXiv:2111.06377.\\nRun:   launch')
  'He. "MAE", CVPR 2022, arXiv:2111.06377.'
  """
  return " ".join(" ".join(section(doc, "Paper")).split())


def claim(doc: str) -> str:
  """What the paper claims first: the first sentence of its section, without the full stop.

  Raises:
    BadInput: there is no such section.

  >>> claim("Claim: ViT-L 85.9 %,\\n       on ImageNet. ViT-H at 448 px.")
  'ViT-L 85.9 %, on ImageNet'
  """
  said = " ".join(" ".join(section(doc, "Claim")).split())
  if not said:
    raise BadInput("the docstring names no claim of the paper (Claim: …)")
  return re.split(r"\.(?: |$)", said)[0]


def measured(doc: str) -> list[Table]:
  """The tables of what was measured.

  Raises:
    BadInput: there is none, or one that is malformed.

  >>> doc = '''Measured: digits, three seeds:
  ...
  ...   | run       | kNN           |
  ...   |-----------|---------------|
  ...   | untrained | 0.556 ± 0.014 |'''
  >>> measured(doc)
  [Table(under='digits, three seeds', rows={'untrained': {'kNN': '0.556 ± 0.014'}})]
  """
  tables: list[Table] = []
  for under, lines in _blocks(section(doc, "Measured")):
    tables.append(Table(under, _rows([_cells(line) for line in lines])))
  if not tables:
    raise BadInput(
      "the docstring has no table of what was measured (Measured: …; a cell may say 'not measured')"
    )
  return tables


def outdated(doc: str) -> str:
  """Before what change the figures were measured; empty where they are of the method as it is.

  >>> outdated("Measured: tables. Measured before weights decayed; not measured since.")
  'before weights decayed'
  """
  said = re.search(
    r"Measured ((?:before|with) [^;]+); not (?:measured )?since", " ".join(doc.split())
  )
  return said[1] if said else ""


def family(doc: str) -> str:
  """The family that a base belongs to as a method; empty where its section is not there.

  >>> family("Family: latent_prediction\\nClaim: c.")
  'latent_prediction'
  """
  return " ".join(section(doc, "Family")).strip()


def states(doc: str) -> list[str]:
  """What became of the paper's claims here, in the order said: those of `STATES` in asterisks.

  >>> states("Measured: *Reproduced* here, *not visible at\\n  this scale* or not measured there.")
  ['reproduced', 'not visible at this scale']
  """
  said = " ".join(" ".join(section(doc, "Measured")).lower().split())
  return list(dict.fromkeys(re.findall(rf"\*({'|'.join(STATES)})\*", said)))


def line(tables: Sequence[Table], width: int = WIDTH) -> str:
  """The first metric of the first table on one line, without deviations: as many runs as fit.

  >>> rows = {"untrained": {"kNN": "0.556 ± 0.014"}, "`laptop`": {"kNN": "0.833 ± 0.025"}}
  >>> line([Table("digits, `laptop`, three seeds", rows)])
  'digits, kNN: untrained 0.556, laptop 0.833'
  >>> line([Table("digits, `laptop`, three seeds", rows)], width=36)
  'digits, kNN: untrained 0.556, …'
  >>> line([Table("digits", {"untrained": {"kNN": "not measured"}})])
  'not measured'
  """
  under, rows = tables[0]
  metric = next(iter(next(iter(rows.values()))))
  found = {run.replace("`", ""): row[metric] for run, row in rows.items()}
  runs = [f"{run} {_mean(figure)}" for run, figure in found.items() if figure not in WITHOUT]
  if not runs:
    return WITHOUT[0]
  said = lambda shown: f"{under.split(',')[0]}, {metric}: " + ", ".join(shown)
  cuts = (said(runs), *(said([*runs[:n], "…"]) for n in range(len(runs) - 1, 0, -1)))
  return next((text for text in cuts if len(text) <= width), cuts[-1])


def section(doc: str, name: str) -> list[str]:
  """The lines of a section of a docstring, the first without its name; empty where it has none.

  >>> section('Paper: one,\\n       two.\\nRun:   launch', "Paper")
  [' one,', '       two.']
  """
  found: list[str] = []
  for text in doc.splitlines():
    if text.startswith(f"{name}:"):
      if found:
        raise BadInput(f"the docstring has two sections {name}")
      found.append(text.removeprefix(f"{name}:"))
    elif found and text[:1].strip():
      break
    elif found:
      found.append(text)
  return found


def _blocks(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
  """The tables among lines, each with the text before it."""
  said: list[str] = []
  table: list[str] = []
  for text in (*map(str.strip, lines), ""):
    if text.startswith("|"):
      table.append(text)
      continue
    if table:
      yield " ".join(said).rstrip(":."), table
      said, table = [], []
    said += [text] if text else []


def _cells(text: str) -> list[str]:
  """The cells of a line of a table."""
  if not text.endswith("|") or len(text) < 2:
    raise BadInput(f"a line of a table ends with |, got {text!r}")
  return [cell.strip() for cell in text[1:-1].split("|")]


def _rows(lines: Sequence[list[str]]) -> dict[str, dict[str, str]]:
  """Rows by run and metric, of the head, the rule below it, and at least one row."""
  head, *rest = lines
  if not rest or not all(re.fullmatch(":?-+:?", cell) for cell in rest[0]):
    raise BadInput(f"below the head {head} of a table comes a rule, |---|---|")
  if len(rest) < 2 or len(head) < 2:
    raise BadInput(f"the table with the head {head} has no rows, or no metrics")
  rows: dict[str, dict[str, str]] = {}
  for cells in (head, *rest):
    if len(cells) != len(head):
      raise BadInput(f"a table with the head {head} has {len(head)} cells a line, got {cells}")
    if "" in cells:
      raise BadInput(f'an empty cell in {cells}: write "not measured", or - if it does not apply')
  for run, *figures in rest[1:]:
    if run in rows or len({*head}) < len(head):
      raise BadInput(f"the table with the head {head} has two lines or columns of one name")
    rows[run] = dict(zip(head[1:], figures, strict=True))
  return rows


def _mean(figure: str) -> str:
  """A figure without its deviation; a unit that stands behind that stays.

  >>> _mean("59.7 ± 0.3 %")
  '59.7 %'
  """
  return re.sub(r" ± [\d.]+", "", figure)
