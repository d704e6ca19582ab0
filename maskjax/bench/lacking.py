"""Packages that peers import and their interpreter lacks: said before the first row, not behind."""

import ast
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Sequence

from maskjax.bench.harness import HERE, Row, interpreter

FIND = """
import importlib.util, json, sys
print(json.dumps([name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]))
"""


def lacking(rows: Sequence[Row], python: str) -> dict[str, list[str]]:
  """By the name of each row the packages that its peers import and that an interpreter lacks.

  Args:
    rows: of the bench.
    python: the peers' interpreter.

  Raises:
    BadInput: there is no such interpreter.
  """
  wanted = {
    row.name: {
      name
      for contender in row.contenders
      if contender.peer
      for name in imported(HERE / contender.target.rpartition(":")[0])
    }
    for row in rows
  }
  every = sorted(set().union(*wanted.values()))
  if not every:
    return {}
  command = [interpreter(python), "-c", FIND, *every]
  gone = set(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
  return {name: sorted(own & gone) for name, own in wanted.items() if own & gone}


def imported(file: pathlib.Path) -> Iterator[str]:
  """Packages beyond the standard library that a file imports, also within functions.

  >>> sorted(set(imported(HERE / "peers" / "random_masks.py")))
  ['torch']
  """
  if not file.exists():
    return
  for node in ast.walk(ast.parse(file.read_text())):
    names: list[str] = []
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
      names = [node.module]
    for name in names:
      package = name.partition(".")[0]
      if package not in sys.stdlib_module_names:
        yield package
