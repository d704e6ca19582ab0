"""Runs side by side: a table of what they came to, and one metric plotted against another.

python -m maskjax.train.log.compare DIR ... --y=FIGURE [--x=FIGURE|step] [--png=FILE]

FIGURE is a key of metrics.jsonl, say eval/accuracy/accuracy. Each DIR is the workdir of a run, a
point at its last evaluation, averaged over its seeds; runs of the same parent folder make a series.
With --x=step (the default) each run is a series of its own, over all its steps. A DIR of a sweep
stands for those of its points. In the place of DIRs a results.json of sweeps: a point for each
config and fields, over its seeds, and FIGURE may be step, parameters, seconds or
examples_per_second too; those of a config make a series.
"""

import argparse
import contextlib
import pathlib
import sys
from collections.abc import Mapping, Sequence

from maskjax.errors import BadInput, Restart, unknown
from maskjax.train.log.summary import read_metrics
from maskjax.train.sweeps import rows
from maskjax.train.workdirs import remote
from maskjax.view.grid import save_png
from maskjax.view.plot import Points, plot
from maskjax.view.table import results

Metrics = dict[int, dict[str, float]]


def compare(workdirs: Sequence[pathlib.Path], *, y: str, x: str = "step") -> dict[str, Points]:
  """The points of every series: x, and y of every seed.

  Raises:
    BadInput: a workdir without such metrics.
  """
  series: dict[str, list[tuple[float, Sequence[float]]]] = {}
  for workdir in workdirs:
    runs = [_seed(folder, [y] if x == "step" else [x, y]) for folder in seeds(workdir)]
    if x == "step":
      shared = set.intersection(*(set(run) for run in runs))
      series[name(workdir)] = [(step, [run[step][y] for run in runs]) for step in sorted(shared)]
    else:
      last = [run[max(run)] for run in runs]
      point = sum(row[x] for row in last) / len(last), [row[y] for row in last]
      series.setdefault(workdir.parent.name, []).append(point)
  return dict(series)


def table(workdirs: Sequence[pathlib.Path], metrics: Sequence[str]) -> str:
  """A row for each run: the last value of each metric, mean and deviation over seeds."""
  rows = []
  for workdir in workdirs:
    last = [run[max(run)] for run in (_seed(folder, metrics) for folder in seeds(workdir))]
    rows.append((name(workdir), {metric: [row[metric] for row in last] for metric in metrics}))
  return results(rows)


def runs(workdir: pathlib.Path) -> list[pathlib.Path]:
  """The workdirs below that of a sweep, in the order of its points; of a run itself."""
  return sorted(workdir.glob("[0-9][0-9][0-9]*-*")) or [workdir]


def seeds(workdir: pathlib.Path) -> list[pathlib.Path]:
  """The folders of a run's seeds, the first being the workdir itself."""
  further = (path for path in workdir.glob("seeds/*") if path.name.isdecimal())
  return [workdir, *sorted(further, key=lambda path: int(path.name))]


def name(workdir: pathlib.Path) -> str:
  """What a run is called in a table: its folder and the one that holds it.

  >>> name(pathlib.Path("runs/gradual/90"))
  'gradual/90'
  """
  return "/".join(workdir.parts[-2:])


def _seed(folder: pathlib.Path, metrics: Sequence[str]) -> Metrics:
  """The steps of one seed at which all the metrics are known."""
  run = read_metrics(folder / "metrics.jsonl")
  if not run:
    raise BadInput(f"{folder} has no metrics.jsonl: not the workdir of a run, or a young one")
  known = {key for row in run.values() for key in row}
  for metric in metrics:
    if metric not in known:
      raise unknown(f"metric of {folder}", metric, sorted(known))
  whole = {step: row for step, row in run.items() if all(row.get(f) is not None for f in metrics)}
  if not whole:
    raise BadInput(f"{folder} has {' and '.join(metrics)} at no step together")
  return whole


def main(argv: Sequence[str]) -> int:
  """Runs the command line above; returns the exit status."""
  parser = argparse.ArgumentParser(prog="python -m maskjax.train.log.compare", description=__doc__)
  parser.add_argument("workdirs", nargs="+")
  parser.add_argument("--y", required=True)
  parser.add_argument("--x", default="step")
  parser.add_argument("--png", type=pathlib.Path)
  given = parser.parse_args(argv)
  columns = [given.y] if given.x == "step" else [given.x, given.y]
  try:
    with contextlib.ExitStack() as stack:
      points: Mapping[str, Points]
      if all(place.endswith(".json") for place in given.workdirs):
        found = [row for place in given.workdirs for row in rows.read(place)]
        print(rows.table(found, columns))
        points = rows.series(found, x=given.x, y=given.y)
      else:
        places = [stack.enter_context(remote.mirrored(workdir)) for workdir in given.workdirs]
        workdirs = [run for place in places for run in runs(pathlib.Path(place))]
        print(table(workdirs, columns))
        points = compare(workdirs, y=given.y, x=given.x) if given.png else {}
      if given.png:
        save_png(given.png, plot(points, x=given.x, y=given.y))
  except BadInput as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  except Restart as error:
    print(f"stopped: {error}", file=sys.stderr)
    return 75
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
