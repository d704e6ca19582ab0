"""What a run came to: the table and the pictures, read back from its workdirs."""

import json
import pathlib
from collections.abc import Mapping, Sequence

from maskjax.view.table import results


def summary(folders: Sequence[pathlib.Path]) -> str:
  """A table of the first and last evaluations over all seeds, and where the newest pictures lie.

  Of several seeds also how far each one came from its own beginning: an evaluator draws alike at
  every step of a seed (few labels, their order, masks), so that the deviation of these differences
  is without what the draws alone do to both.
  """
  runs = [read_metrics(folder / "metrics.jsonl") for folder in folders]
  last = [max(run) for run in runs if run]
  rows: dict[str, dict[str, list[float]]] = {}
  for run, end in zip(filter(None, runs), last, strict=True):
    start = run.get(0, {})
    _add(
      rows,
      "raw pixels",
      {k.replace("/pixels/", "/"): v for k, v in start.items() if "/pixels/" in k},
    )
    _add(rows, "untrained", {k: v for k, v in start.items() if "/pixels/" not in k})
    if end:
      _add(rows, f"trained, step {end}", run[end])
  for run, end in zip(filter(None, runs), last, strict=True) if len(last) > 1 else ():
    start = run.get(0, {}) if end else {}
    there = [k for k, v in run[end].items() if None not in (v, start.get(k))]
    _add(rows, "trained minus untrained", {k: run[end][k] - start[k] for k in there})
  table = results([(name, row) for name, row in rows.items() if row])
  pictures = sorted((folders[0] / "views").glob("*.png"))
  return "\n\n".join([table, *(f"picture: {path}" for path in pictures[-1:])]).strip("\n")


def _add(
  rows: dict[str, dict[str, list[float]]], name: str, metrics: Mapping[str, float | None]
) -> None:
  """Files the first metric of each evaluator of one seed; the others are in metrics.jsonl."""
  row, done = rows.setdefault(name, {}), set()
  for metric, value in metrics.items():
    head, _, rest = metric.partition("/")
    evaluator = rest.partition("/")[0]
    if head == "eval" and value is not None and evaluator not in done:
      done.add(evaluator)
      row.setdefault(rest.replace("/", " "), []).append(value)


def read_metrics(path: pathlib.Path) -> dict[int, dict[str, float]]:
  """The rows of a metrics.jsonl, joined by step; nothing where there is none."""
  joined: dict[int, dict[str, float]] = {}
  for line in path.read_text().splitlines() if path.exists() else []:
    row = json.loads(line)
    joined.setdefault(row.pop("step"), {}).update(row)
  return joined


def seconds(rows: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
  """How long a run took so far, all its launches together: seconds by phase, from its newest row.

  >>> seconds({50: {"perf/seconds/train": 4.0}, 60: {"eval/knn/accuracy": 0.5}})
  {'train': 4.0}
  """
  head = "perf/seconds/"
  found: dict[str, float] = {}
  for _, row in sorted(rows.items()):
    found |= {name.removeprefix(head): value for name, value in row.items() if head in name}
  return found
