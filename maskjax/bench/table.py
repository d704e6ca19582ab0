"""The bench as text: a line for every figure, what limits it, and the machine it was taken on."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from maskjax.bench.harness import Line, Results, Row

HEADER = ("row", "figure", "ours", "peer", "ratio", "goal", "reached")
ABSENT = "-"
Measured = tuple[Row, Sequence[Line], Sequence[str], Results]


def table(rows: Sequence[Measured], machine: Mapping[str, Any]) -> str:
  """Everything that was measured, aligned, with notes below."""
  cells: list[tuple[str, ...]] = [HEADER]
  for row, lines, _, _ in rows:
    for number, line in enumerate(lines):
      cells.append(("" if number else row.name, *_cells(line)))
  widths = [max(len(row[i]) for row in cells) for i in range(len(HEADER))]
  text = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
  notes = [f"{row.name}: {note}" for row, _, notes, _ in rows for note in notes]
  notes += [
    f"{row.name}: {name}: {result.absent}"
    for row, _, _, results in rows
    for name, result in results.items()
    if result.absent
  ]
  return "\n".join([*text, "", *notes, "", *(f"{k}: {v}" for k, v in machine.items())])


def _cells(line: Line) -> tuple[str, ...]:
  reached = {True: "yes", False: "no", None: ABSENT}[line.reached()]
  numbers = (line.ours, line.peer, line.ratio)
  return line.what, *map(number, numbers), line.goal.text, reached


def number(value: float | None) -> str:
  """Four significant digits, none lost before the point; a dash for nothing.

  >>> number(1234567.8), number(0.012345), number(None)
  ('1,234,568', '0.01235', '-')
  """
  if value is None:
    return ABSENT
  return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def machine(cores: Sequence[int], rows: Sequence[Measured]) -> dict[str, Any]:
  """What the figures were taken on, with the versions that the contenders reported."""
  versions = {"jax": importlib.metadata.version("jax")}
  for _, _, _, results in rows:
    for result in results.values():
      versions |= result.versions
  return {
    "cpu": _cpu(),
    "cores": f"{len(cores)} of {os.cpu_count()}, a thread each",
    "versions": ", ".join(f"{name} {version}" for name, version in sorted(versions.items())),
    "python": platform.python_version(),
    "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    "load at the end": " ".join(f"{load:.2f}" for load in os.getloadavg()),
  }


def _cpu() -> str:
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
  except (OSError, StopIteration):
    return platform.processor()


def record(rows: Sequence[Measured], machine: Mapping[str, Any]) -> dict[str, Any]:
  """All of it for JSON, with every repeat."""
  return {
    "machine": dict(machine),
    "rows": [
      {
        "name": row.name,
        "what": row.what,
        "lines": [
          {**line._asdict(), "goal": line.goal.text, "reached": line.reached()} for line in lines
        ],
        "notes": list(notes),
        "contenders": {name: result._asdict() for name, result in results.items()},
      }
      for row, lines, notes, results in rows
    ],
  }
