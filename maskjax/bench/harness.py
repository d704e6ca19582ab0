"""Rows and their contenders, each in a process of its own, measured in turns on the same cores."""

import contextlib
import json
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from maskjax.errors import BadInput

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
Size = Mapping[str, Any]


class Crash(RuntimeError):  # noqa: N818
  """A contender's process ended before it was asked to."""


class Contender(NamedTuple):
  """What runs in one process.

  Attributes:
    name: as in the table.
    target: "package.module:function", or "peers/file.py:function" beside this file; what the
      function gives is said in `worker`.
    peer: whether it runs under the peers' interpreter and may be absent.
    own: numbers of its own, beside those of the row's size.
  """

  name: str
  target: str
  peer: bool = False
  own: Mapping[str, Any] = {}


class Goal(NamedTuple):
  """An interval that the ratio, or our own figure, should lie in."""

  text: str
  low: float = -math.inf
  high: float = math.inf
  of_ratio: bool = True


class Line(NamedTuple):
  """A line of the table: ours, the peer's, their ratio, and what was to be reached."""

  what: str
  ours: float | None
  peer: float | None
  ratio: float | None
  goal: Goal

  def reached(self) -> bool | None:
    """Whether the goal is reached; None where it cannot be said."""
    judged = self.ratio if self.goal.of_ratio else self.ours
    return None if judged is None else bool(self.goal.low <= judged <= self.goal.high)


class Result(NamedTuple):
  """What one contender came to; `absent` says why there are no figures.

  `seconds` holds one entry a repeat, each a number or as many as the contender measured.
  `extra_bytes` is the peak of memory above what it held before the first repeat.
  """

  absent: str = ""
  seconds: Sequence[Any] = ()
  facts: Mapping[str, Any] = {}
  versions: Mapping[str, str] = {}
  peak_bytes: int = 0
  extra_bytes: int | None = None


Results = Mapping[str, Result]


class Row(NamedTuple):
  """One measurement.

  Attributes:
    name: what to call it on the command line.
    what: a sentence.
    contenders: who takes part.
    sizes: the workload's numbers, "full" and "smoke".
    report: `(size, results) -> (lines, notes)`; the notes say what the limit is.
    most: repeats at most, for rows that take long.
    prepare: `(size, folder) -> size`, makes files that all contenders read.
    points: `results -> series` for a plot.
  """

  name: str
  what: str
  contenders: Sequence[Contender]
  sizes: Mapping[str, Size]
  report: Callable[[Size, Results], tuple[Sequence[Line], Sequence[str]]]
  most: int = 1000
  prepare: Callable[[Size, pathlib.Path], Size] = lambda size, folder: size
  points: Callable[[Results], Any] | None = None


def measure(
  row: Row, size: Size, *, repeats: int, cores: Sequence[int], torch: str = sys.executable
) -> dict[str, Result]:
  """Runs all contenders of a row in turns: A B A B …

  Raises:
    Crash: one of them failed; its standard error is told.
    BadInput: there is no such interpreter.
  """
  with contextlib.ExitStack() as stack:
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    size = row.prepare(size, folder)
    # One after another: none is set up or measured while another is being set up.
    running = [
      stack.enter_context(started(contender, size, cores, torch)) for contender in row.contenders
    ]
    alive = [one for one in running if "absent" not in one.first]
    for _ in range(min(repeats, row.most)):
      for one in alive:
        one.seconds.append(one.ask("go")["seconds"])
    ends = {one.name: one.ask("end") for one in alive}
    return {one.name: result(one, ends.get(one.name, {})) for one in running}


def result(one: "Process", end: Mapping[str, Any]) -> Result:
  """What a contender said, put together."""
  if "absent" in one.first:
    return Result(absent=one.first["absent"])
  said = {key: one.first[key] for key in ("facts", "versions")}
  return Result(seconds=one.seconds, **said, **end)


class Process:
  """A contender's process: its first reply, and what it answers to a word."""

  def __init__(self, name: str, process: subprocess.Popen, errors: Any):
    self.name, self.process, self.errors = name, process, errors
    self.seconds: list[Any] = []
    self.first = self.reply()

  def ask(self, word: str) -> dict[str, Any]:
    """Sends a word and waits for the reply."""
    with contextlib.suppress(BrokenPipeError):  # the reply that does not come says it better
      self.process.stdin.write(f"{word}\n")  # type: ignore[union-attr]
      self.process.stdin.flush()  # type: ignore[union-attr]
    return self.reply()

  def reply(self) -> dict[str, Any]:
    """The next line that the process says, or `Crash` when it says none."""
    line = self.process.stdout.readline()  # type: ignore[union-attr]
    if line:
      return json.loads(line)
    status = self.process.wait()
    self.errors.seek(0)
    tail = self.errors.read().decode(errors="replace").strip()[-4000:]
    raise Crash(f"{self.name} ended with status {status}:\n{tail}")


def interpreter(python: str) -> str:
  """The name or path of an interpreter, as it was given.

  Raises:
    BadInput: there is none.
  """
  if shutil.which(python) is None:
    raise BadInput(f"there is no interpreter {python!r}")
  return python


@contextlib.contextmanager
def started(
  contender: Contender, size: Size, cores: Sequence[int], torch: str
) -> Iterator[Process]:
  """A contender's process, set up and ready; it ends with the block."""
  given = {"cores": list(cores), "size": {**size, **contender.own}, "optional": contender.peer}
  place = contender.target
  if place.startswith("peers/"):
    place = str(HERE / place)
  python = interpreter(torch) if contender.peer else sys.executable
  command = [python, str(HERE / "worker.py"), place, json.dumps(given)]
  with tempfile.TemporaryFile() as errors:
    process = subprocess.Popen(
      command,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=errors,
      text=True,
      env=environment(contender, len(cores)),
      start_new_session=True,
    )
    try:
      yield Process(contender.name, process, errors)
    finally:
      leave(process)


def leave(process: subprocess.Popen) -> None:
  """Lets a contender clean up behind itself, then ends it and whatever it started."""
  with contextlib.suppress(BrokenPipeError):
    process.stdin.close()  # type: ignore[union-attr]
  with contextlib.suppress(subprocess.TimeoutExpired):
    process.wait(timeout=10)
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, signal.SIGKILL)
  process.wait()
  process.stdout.close()  # type: ignore[union-attr]


def environment(contender: Contender, threads: int) -> dict[str, str]:
  """Variables that give both sides the same threads, and the CPU unless said otherwise."""
  counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
  env = {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, **counts}
  if not contender.peer:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
  return env


def median(results: Results, name: str) -> Any:
  """The median over repeats: a number, or an array where a repeat measures several; None if none.

  >>> median({"a": Result(seconds=[1.0, 9.0, 2.0]), "b": Result(absent="no b")}, "a")
  2.0
  """
  found = results.get(name)
  if found is None or not found.seconds:
    return None
  middle = np.median(np.array(found.seconds, np.float64), axis=0)
  return float(middle) if middle.ndim == 0 else middle


def fastest(results: Results, names: Sequence[str]) -> float | None:
  """The least median of those that took part; None if none did."""
  found = [m for m in (median(results, name) for name in names) if m is not None]
  return min(found) if found else None


def over(a: float | None, b: float | None) -> float | None:
  """`a / b`, None where one is missing.

  >>> over(3.0, 2.0), over(None, 2.0)
  (1.5, None)
  """
  return None if a is None or b is None else a / b


def milliseconds(ours: float, peer: float | None, goal: Goal) -> Line:
  """A line of two times in seconds; the ratio says how many times faster ours is.

  >>> milliseconds(0.5, 1.0, at_least(1))[1:4]
  (500.0, 1000.0, 2.0)
  """
  theirs = None if peer is None else 1000 * peer
  return Line("ms", 1000 * ours, theirs, over(peer, ours), goal)


def at_least(number: float, unit: str = "x", *, of_ratio: bool = True) -> Goal:
  """The goal of being at least so large.

  >>> at_least(1.2).text
  '≥ 1.2 x'
  """
  return Goal(f"≥ {number:g} {unit}".strip(), low=number, of_ratio=of_ratio)


def at_most(number: float, unit: str = "x", *, of_ratio: bool = True) -> Goal:
  """The goal of being at most so large."""
  return Goal(f"≤ {number:g} {unit}".strip(), high=number, of_ratio=of_ratio)
