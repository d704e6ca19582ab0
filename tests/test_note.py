"""Titles and tables are read from docstrings, and malformed tables are named."""

import re

import pytest

from maskjax import lab, note
from maskjax.errors import BadInput

CONFIGS = [p for p in sorted(lab.CONFIGS.rglob("*.py")) if not p.name.startswith("_")]
TABLE = """
       | run       | 10 labels a class | kNN           |
       |-----------|-------------------|---------------|
       | untrained | 0.621 ± 0.030     | 0.556 ± 0.014 |
       | `laptop`  | 0.756 ± 0.037     | not measured  |
       | purple    | -                 | not measured  |
"""
DOC = f"""A method.

Paper: "A Title over
       Two Lines", VENUE. It says "more".
Measured: digits, `laptop`, three seeds,
       by the command below:
{TABLE}
       Seed 0 alone:

       | run     | loss |
       |:--------|-----:|
       | trained | 0.1  |

       *Reproduced*.
Run:   python launch.py

| what | is no part |
"""


def test_titles_and_tables_are_read():
  assert note.title(DOC) == "A Title over Two Lines"
  assert note.states(DOC) == ["reproduced"]
  first, second = note.measured(DOC)
  assert first.under == "digits, `laptop`, three seeds, by the command below"
  assert first.rows == {
    "untrained": {"10 labels a class": "0.621 ± 0.030", "kNN": "0.556 ± 0.014"},
    "`laptop`": {"10 labels a class": "0.756 ± 0.037", "kNN": "not measured"},
    "purple": {"10 labels a class": "-", "kNN": "not measured"},
  }
  assert second == ("Seed 0 alone", {"trained": {"loss": "0.1"}})
  assert note.line([first]) == "digits, 10 labels a class: untrained 0.621, laptop 0.756"


def test_a_line_is_cut_between_runs():
  rows = {"hard, 400 epochs": {"kNN": "0.7"}, "b": {"kNN": "0.8 ± 0.1"}, "c": {"kNN": "0.9"}}
  lines = [note.line([note.Table("x, y", rows)], width) for width in (99, 38, 37, 30, 5)]
  assert lines == [
    "x, kNN: hard, 400 epochs 0.7, b 0.8, c 0.9",
    "x, kNN: hard, 400 epochs 0.7, b 0.8, …",
    "x, kNN: hard, 400 epochs 0.7, …",
    "x, kNN: hard, 400 epochs 0.7, …",
    "x, kNN: hard, 400 epochs 0.7, …",
  ]


@pytest.mark.parametrize(
  ("old", "new", "says"),
  [
    ("Measured:", "Here:", "no table of what was measured"),
    (TABLE, "", None),  # one of two is enough
    ("Run:", "Measured:", "two sections Measured"),
    ("| 0.621 ± 0.030     | 0.556", "| 0.556", "has 3 cells a line, got ['untrained'"),
    ("not measured  |\n       | purple", "              |\n       | purple", "an empty cell in"),
    ("0.556 ± 0.014 |", "0.556 ± 0.014", "a line of a table ends with |"),
    ("|-----------|-------------------|---------------|\n", "", "comes a rule, |---|---|"),
    ("| `laptop`  |", "| untrained |", "two lines or columns of one name"),
    ("| kNN           |", "| 10 labels a class |", "two lines or columns of one name"),
    ("       | trained | 0.1  |\n", "", "no rows, or no metrics"),
    (
      "| run     | loss |\n       |:--------|-----:|",
      "| run     |\n       |:--------|",
      "no rows, or no metrics",
    ),
  ],
)
def test_what_is_malformed_is_named(old, new, says):
  assert DOC.count(old) >= 1
  doc = DOC.replace(old, new)
  if says is None:
    assert len(note.measured(doc)) == 1
    return
  with pytest.raises(BadInput, match=re.escape(says)):
    note.measured(doc)


@pytest.mark.parametrize("doc", ["", 'A "method".', "Paper: none.\nRun: a 'b'"])
def test_a_docstring_without_a_paper_is_named(doc):
  with pytest.raises(BadInput, match="names no paper"):
    note.title(doc)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda p: p.stem)
def test_a_verdict_says_how_the_baseline_was_tuned(file):
  """Who says *reproduced* or *opposite* says what settings were chosen, and for which runs."""
  said = " ".join(" ".join(note.section(lab.load(file).__doc__, "Measured")).split())
  if re.search(r"\*(reproduced|opposite)", said, re.I):
    assert re.search(r"Settings: .*(nothing was chosen|chosen on)|not tuned|chosen on", said)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda p: p.stem)
def test_a_measured_figure_stands_once(file):
  """A mean with its deviation stands in a table, not in the prose around it too, nor in NOTE."""
  module = lab.load(file)
  tables = note.measured(module.__doc__)
  assert all(table.under for table in tables)
  assert re.search(r"20\d\d-\d\d-\d\d.*(by the command|by maskjax)", tables[0].under)
  figures = {f for t in tables for row in t.rows.values() for f in row.values() if "±" in f}
  prose = " ".join(re.sub(r"^ *\|.*$", "", module.__doc__, flags=re.M).split())
  assert not [f for f in figures if f in prose or f in str(module.NOTE)]
