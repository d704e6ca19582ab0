"""Rows of finished runs: a JSON file, a row a line, and the tables that are written from it."""

import contextlib
import fcntl
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from maskjax.errors import BadInput, unknown
from maskjax.train.result import Result
from maskjax.train.sweeps.points import Point
from maskjax.view.plot import Points
from maskjax.view.table import results

Row = dict[str, Any]
KEPT = ("eval/", "train/loss", "train/examples")  # metrics of a row
PLAIN = ("step", "parameters", "seconds", "examples_per_second")


def rows_of(point: Point, found: Result) -> list[Row]:
  """A row for each seed of a finished point.

  `seconds` are those of training and of waiting for data, compilation and evaluation left out;
  `examples_per_second` are the examples of all steps but the first, which compiles, in that time.
  """
  made = []
  for seed, scalars in found.seeds.items():
    seconds = sum(scalars.get(f"perf/seconds/{phase}", 0.0) for phase in ("train", "data"))
    timed = scalars.get("train/examples", 0) - point.config.batch_size
    row = {
      "config": point.place,
      "overrides": {**point.overrides, "seed": seed},
      "settings": point.settings(seed),
      "step": found.step,
      "parameters": found.parameters,
      "seconds": round(seconds, 3),
      "examples_per_second": round(timed / seconds, 3) if seconds and timed > 0 else None,
      "metrics": {k: v for k, v in scalars.items() if k.startswith(KEPT)},
    }
    made.append(row)
  return made


def read(path: str | os.PathLike[str]) -> list[Row]:
  """The rows of a file.

  Raises:
    BadInput: there is no such file, or it is no list of rows.
  """
  try:
    text = pathlib.Path(path).read_text(encoding="utf-8")
  except OSError as error:
    raise BadInput(f"{path} cannot be read: {error.strerror}") from error
  try:
    rows = json.loads(text)
    for row in rows:
      row["settings"], row["config"], row["overrides"]["seed"], row["metrics"]
  except (ValueError, TypeError, KeyError) as error:
    raise BadInput(f"{path} holds no rows of finished runs: {error}") from error
  return rows


def known(path: str | os.PathLike[str]) -> list[Row]:
  """The rows of a file that may not be there yet; see `read`."""
  return read(path) if os.path.exists(path) else []


def add(path: str | os.PathLike[str], new: Sequence[Row]) -> None:
  """Adds rows to a file, in the place of those of the same config and fields.

  Several processes may do so at a time. The file is written whole or not at all.

  Raises:
    BadInput: the file cannot be written, or is none of rows.
  """
  path = pathlib.Path(path)
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _held(path.parent):
      rows = {_name(row): row for row in [*known(path), *new]}
      fresh = path.with_name(f".{path.name}.{os.getpid()}")
      lines = ",\n".join(json.dumps(row) for row in rows.values())
      fresh.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
      fresh.replace(path)
  except OSError as error:
    raise BadInput(f"{path} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def _held(folder: pathlib.Path) -> Iterator[None]:
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    with contextlib.suppress(OSError):  # some network file systems have no locks
      fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
  finally:
    os.close(descriptor)


def _name(row: Row) -> str:
  return json.dumps([row["config"], row["overrides"]], sort_keys=True)


def finished(rows: Sequence[Row], point: Point) -> bool:
  """Whether every seed of a point has a row of just these settings."""
  known = {row["settings"] for row in rows}
  return all(point.settings(seed) in known for seed in point.seeds)


def steps(rows: Sequence[Row], point: Point) -> int:
  """How many steps a point trains that says `seconds`: seconds · examples a second / batch size.

  The speed is that of the first row of the same config at its own length, whatever the seed; 0
  where there is none yet.
  """
  measured = point._replace(seconds=0.0)
  for row in rows:
    rate = row.get("examples_per_second")
    if rate and row["settings"] == measured.settings(row["overrides"]["seed"]):
      return max(1, round(point.seconds * rate / point.config.batch_size))
  return 0


def grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
  """The rows of each config and fields together, whatever the seed, by what they are called.

  >>> one = {"config": "mae:laptop", "overrides": {"ema": 0.9, "seed": 0}}
  >>> two = {"config": "mae:laptop", "overrides": {"ema": 0.9, "seed": 1}}
  >>> [(name, len(group)) for name, group in grouped([one, two]).items()]
  [('mae:laptop ema=0.9', 2)]
  """
  found: dict[str, list[Row]] = {}
  for row in rows:
    fields = [f"{key}={value}" for key, value in row["overrides"].items() if key != "seed"]
    found.setdefault(" ".join([row["config"], *fields]), []).append(row)
  return found


def value(row: Row, name: str) -> float:
  """A number of a row: a metric, or one of `PLAIN`.

  Raises:
    BadInput: the row has none; the nearest is named.
  """
  numbers: Mapping[str, Any] = {**row["metrics"], **{k: row.get(k) for k in PLAIN}}
  if numbers.get(name) is None:
    raise unknown(f"number of {_name(row)}", name, [k for k, v in numbers.items() if v is not None])
  return numbers[name]


def columns(rows: Sequence[Row]) -> list[str]:
  """The first metric of each evaluator that any row has."""
  first: dict[str, str] = {}
  for row in rows:
    for name in row["metrics"]:
      if name.startswith("eval/"):
        first.setdefault(name.split("/")[1], name)
  return list(first.values())


def table(rows: Sequence[Row], metrics: Sequence[str] = ()) -> str:
  """A line for each point: mean and deviation over its seeds of each metric, or of `columns`."""
  asked, shown = metrics or columns(rows), []
  for name, group in grouped(rows).items():
    known = [m for m in asked if metrics or all(m in row["metrics"] for row in group)]
    shown.append((name, {m: [value(row, m) for row in group] for m in known}))
  return results(shown)


def series(rows: Sequence[Row], *, x: str, y: str) -> dict[str, Points]:
  """The points of each config, to be plotted: x, averaged over the seeds, and y of every seed."""
  found: dict[str, list[tuple[float, Sequence[float]]]] = {}
  for group in grouped(rows).values():
    across = [value(row, x) for row in group]
    point = sum(across) / len(across), [value(row, y) for row in group]
    found.setdefault(group[0]["config"], []).append(point)
  return dict(found)


def markdown(rows: Sequence[Row], metrics: Mapping[str, str]) -> str:
  """The same as a table of a page in Markdown.

  Args:
    rows: of finished runs.
    metrics: what each column is called, by the name of its metric.
  """
  lines = [f"| run | {' | '.join(metrics.values())} |", "| --- " * (len(metrics) + 1) + "|"]
  for name, group in grouped(rows).items():
    cells = [_cell([value(row, metric) for row in group]) for metric in metrics]
    lines.append(f"| {name} | {' | '.join(cells)} |")
  return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
  spread = f" ± {np.std(values, ddof=1):.3g}" if len(values) > 1 else ""
  return f"{np.mean(values):.4g}{spread}"
