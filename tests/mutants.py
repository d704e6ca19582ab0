"""Breaks the code on purpose and runs the tests that should see it; mutants.tsv lists how.

python tests/mutants.py [NAME …] [--jobs=2]

Each line of mutants.tsv is a mutant: its name, a file, the function in it ("" for the whole file),
a fragment of that function's source, what takes the fragment's place, and the tests that should
fail, with spaces between. Each is written into a copy of the tree, never into the tree itself. Exit
status 1 where a mutant survives.
"""

import ast
import concurrent.futures
import csv
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[1]
KEPT = ("maskjax", "configs", "tests", "launch.py", "pyproject.toml", "README.md")
KEPT += ("CHANGELOG.md", "LICENSE")  # what the wheel holds
LIST = pathlib.Path(__file__).with_suffix(".tsv")


class Mutant(NamedTuple):
  """A fault: `fragment` of a function becomes `replacement`."""

  name: str
  file: str
  function: str
  fragment: str
  replacement: str
  tests: str


def listed(path=LIST):
  """The mutants of a file; "\\n" in a fragment is a new line."""
  with path.open(newline="") as file:
    rows = [row for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row]
  return [Mutant(*(cell.replace("\\n", "\n") for cell in row)) for row in rows[1:]]


def mutated(source, mutant):
  """The source of a file with the fault in it.

  Raises:
    ValueError: the fragment does not stand exactly once in the function.
  """
  begin, end = place(source, mutant.function)
  before, body, after = source[:begin], source[begin:end], source[end:]
  if (found := body.count(mutant.fragment)) != 1:
    raise ValueError(f"{mutant.name}: the fragment stands {found} times in {mutant.function!r}")
  return before + body.replace(mutant.fragment, mutant.replacement) + after


def place(source, function):
  """Where a function (or class; a dotted path for one inside another) begins and ends."""
  if not function:
    return 0, len(source)
  node = ast.parse(source)
  for name in function.split("."):
    kinds = ast.FunctionDef | ast.ClassDef
    inner = [n for n in ast.walk(node) if isinstance(n, kinds) and n.name == name]
    if len(inner) != 1:
      raise ValueError(f"{len(inner)} functions are called {function!r}")
    (node,) = inner
  lines = source.splitlines(keepends=True)
  first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
  return sum(map(len, lines[: first - 1])), sum(map(len, lines[: node.end_lineno]))


def tried(mutant):
  """Whether the tests fail on the mutant, and their last line."""
  with tempfile.TemporaryDirectory() as folder:
    copy = pathlib.Path(folder)
    for name in KEPT:
      take = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
      take(ROOT / name, copy / name)
    file = copy / mutant.file
    file.write_text(mutated(file.read_text(), mutant))
    tests = mutant.tests.split()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n0", "-x", "-q", *tests]
    env = {**os.environ, "PYTHONPATH": folder, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=900)
  said = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
  last = said[0] if said else (done.stdout + done.stderr).strip().splitlines()[-1]
  # 1: tests failed. Others say that pytest itself could not run them.
  return done.returncode == 1, f"{last[:150]}" if done.returncode in (0, 1) else f"status {last}"


def main(words):
  """Tries the mutants of these names, or all."""
  names = [word for word in words if not word.startswith("--")]
  jobs = next((int(w.partition("=")[2]) for w in words if w.startswith("--jobs=")), 2)
  mutants = [m for m in listed() if not names or m.name in names]
  for mutant in mutants:
    mutated((ROOT / mutant.file).read_text(), mutant)
  survivors = 0
  with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
    for mutant, (caught, said) in zip(mutants, pool.map(tried, mutants), strict=True):
      survivors += not caught
      print(f"{'caught  ' if caught else 'SURVIVED'} {mutant.name}: {said}", flush=True)
  print(f"{len(mutants)} mutants, {survivors} survived")
  return bool(survivors)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
