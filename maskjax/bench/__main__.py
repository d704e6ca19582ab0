"""Measures maskjax side by side with its peers: `python -m maskjax.bench [ROW …]`.

Each contender is a process of its own; they run in turns on the same cores, and medians are
compared. PyTorch comes with `pip install 'maskjax[bench]'`, or lies in an environment of its own,
--torch=PYTHON; without it only our own figures are printed. Exit status: 0 done, 1 a contender
failed (the other rows are printed), 2 bad input.
"""

import argparse
import importlib
import json
import os
import pathlib
import sys
from collections.abc import Sequence

from maskjax.bench import harness, table
from maskjax.bench.lacking import lacking
from maskjax.errors import BadInput, unknown
from maskjax.extras import needs
from maskjax.train.pod import threads

ROWS = (
  "mae_step", "attention", "prune_mask", "random_masks", "mask_share", "data", "sampling", "start",
  "compile", "compile_plain", "growth",
)  # fmt: skip


def load(name: str) -> harness.Row:
  """The row of a name.

  Raises:
    BadInput: there is none, or what it measures is not installed.
  """
  if name not in ROWS:
    raise unknown("row", name, ROWS)
  with needs("bench", f"the row {name}"):
    return importlib.import_module(f"maskjax.bench.{name}").ROW


def main(argv: Sequence[str]) -> int:
  """Runs a command line; returns the exit status."""
  flags = argparse.ArgumentParser(
    prog="python -m maskjax.bench",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  flags.add_argument("rows", nargs="*", metavar="ROW", help="all if none is named")
  flags.add_argument("--list", action="store_true", help="says what each row measures")
  flags.add_argument("--json", type=pathlib.Path, help="a file for every repeat")
  flags.add_argument("--png", type=pathlib.Path, help="a picture of the row that has one, growth")
  flags.add_argument("--repeats", type=int, default=5)
  usual = min(4, threads.cores())
  flags.add_argument("--threads", type=int, default=usual, help="at most four unless said")
  flags.add_argument("--torch", default=sys.executable, help="the interpreter of the peers")
  flags.add_argument("--size", choices=("full", "smoke"), default="full")
  flags.add_argument("--cifar", default="", help="a zip of CIFAR-10's images for the row data")
  given = flags.parse_args(argv)
  try:
    if min(given.repeats, given.threads) < 1:
      raise BadInput("--repeats and --threads are at least 1")
    rows = [load(name) for name in given.rows or ROWS]
    if given.list:
      print("\n".join(f"{row.name:<14}{row.what}" for row in rows))
      return 0
    return run(rows, given)
  except BadInput as error:
    print(f"error: {error}", file=sys.stderr)
    return 2


def run(rows: Sequence[harness.Row], given: argparse.Namespace) -> int:
  """Measures the rows one after another, prints the table and writes what was asked for."""
  available = sorted(os.sched_getaffinity(0))
  cores = available[: given.threads]
  if len(cores) < given.threads:
    raise BadInput(f"--threads={given.threads}, but there are {len(cores)} cores")
  for name, packages in lacking(rows, given.torch).items():
    gone = f"{', '.join(packages)} is not installed beside the peers: --torch={given.torch}"
    print(f"warning: {name} goes without a peer, as {gone}", file=sys.stderr, flush=True)
  done: list[table.Measured] = []
  status = 0
  taken = {"size": given.size, "repeats": f"{given.repeats} at most, in turns; medians"}
  machine = lambda: {**table.machine(cores, done), **taken}
  for row in rows:
    size = dict(row.sizes[given.size])
    if given.cifar and "cifar" in size:
      size["cifar"] = os.path.abspath(given.cifar)
    print(f"{row.name}: {row.what}", file=sys.stderr, flush=True)
    try:
      found = harness.measure(row, size, repeats=given.repeats, cores=cores, torch=given.torch)
    except harness.Crash as crash:
      print(f"error: {row.name}: {crash}", file=sys.stderr, flush=True)
      status = 1
      continue
    done.append((row, *row.report(size, found), found))
    if given.png and row.points:
      picture(row, found, given.png)
    if given.json:  # after every row: all of them take long
      given.json.write_text(json.dumps(table.record(done, machine()), indent=2) + "\n")
  print(table.table(done, machine()))
  return status


def picture(row: harness.Row, found: harness.Results, path: pathlib.Path) -> None:
  """Plots the points of a row."""
  from maskjax.view.grid import save_png
  from maskjax.view.plot import plot

  assert row.points is not None
  save_png(path, plot(row.points(found), x="FLOPs of the smallest", y="seconds of the smallest"))


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
