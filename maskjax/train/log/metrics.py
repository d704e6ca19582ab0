"""Where numbers and pictures of a run go: the protocol of writers, and metrics.jsonl."""

import contextlib
import json
import math
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, SupportsFloat, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from maskjax.errors import BadInput

Image = UInt8[np.ndarray, "h w c"]


def finite(step: int, terms: Mapping[str, SupportsFloat]) -> None:
  """Raises `BadInput` that names the step and every term that is not finite.

  >>> finite(120, {"pixels": 0.5})
  """
  bad = [f"term {name!r} is {float(v)}" for name, v in terms.items() if not math.isfinite(v)]
  if bad:
    said = ", ".join(bad)
    raise BadInput(f"loss is not finite at step {step}: {said}; last good checkpoint is kept")


@runtime_checkable
class Writer(Protocol):
  """Takes the numbers and pictures of a run; on several processes only the first has one."""

  def scalars(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
    """Writes the named numbers of a step."""

  def image(self, step: int, name: str, pixels: Image) -> None:
    """Writes one picture of a step."""

  def close(self) -> None:
    """Writes what is still held and lets go of files."""


class Writers:
  """Several writers as one; closing closes every one of them, whatever the others raise."""

  def __init__(self, writers: Sequence[Writer]):
    self._writers = tuple(writers)

  def scalars(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
    """Writes the numbers with every writer."""
    for writer in self._writers:
      writer.scalars(step, values)

  def image(self, step: int, name: str, pixels: Image) -> None:
    """Writes the picture with every writer."""
    for writer in self._writers:
      writer.image(step, name, pixels)

  def close(self) -> None:
    """Closes every writer, the last one first."""
    with contextlib.ExitStack() as stack:
      for writer in self._writers:
        stack.callback(writer.close)


class JsonLines:
  """A file with one JSON object a line, `step` first: `[json.loads(l) for l in open(path)]`.

  Every call of `scalars` is one line, on disk before the call returns, so one step may have
  several (losses, then evaluations); readers join by `step`. A number that is not finite is null.
  Pictures are not kept here.

  On resume from `start_step`, lines of later steps are dropped, and what the file already holds
  for `start_step` is not written twice, so that a killed and resumed run leaves the rows of an
  uninterrupted one: a step's rows must be written *before* its checkpoint. With `start_step=None`
  every line stays. A line torn by a kill is dropped in both cases. Raises `BadInput` for a file
  that cannot be written or has a line, other than the last, that is not such an object.
  """

  def __init__(self, path: str | os.PathLike[str], start_step: int | None = None):
    path = pathlib.Path(path)
    with writing(path):
      path.parent.mkdir(parents=True, exist_ok=True)
      rows = _repair(path, start_step) if path.exists() else []
      self._file = open(path, "a", encoding="utf-8", newline="\n")  # noqa: SIM115 (kept open)
    self._path, self._start_step = path, start_step
    self._held: dict[str, Any] = {}
    for row in rows:
      if row["step"] == start_step:
        self._held.update(row)

  def scalars(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
    """Appends one line; nothing where the file of a resumed run holds all of it already."""
    row = {name: _number(value) for name, value in values.items()}
    if step == self._start_step:
      row = {k: v for k, v in row.items() if k not in self._held or self._held[k] != v}
    if row:
      with writing(self._path):
        self._file.write(_line({"step": int(step), **row}))
        self._file.flush()

  def image(self, step: int, name: str, pixels: Image) -> None:
    """Does nothing: pictures lie under `views/`."""

  def close(self) -> None:
    """Closes the file."""
    with writing(self._path):
      self._file.close()


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
  """Raises `BadInput` that names the path where it cannot be written."""
  try:
    yield
  except OSError as error:
    raise BadInput(f"cannot write {os.fspath(path)}: {error.strerror}") from error


def _number(value: SupportsFloat) -> float | None:
  number = float(value)
  return number if math.isfinite(number) else None


def _line(row: Mapping[str, Any]) -> str:
  return json.dumps(row, allow_nan=False) + "\n"


def _repair(path: pathlib.Path, start_step: int | None) -> list[dict[str, Any]]:
  """The rows up to `start_step`, after rewriting the file in one move if it holds anything else."""
  limit = math.inf if start_step is None else start_step
  before = path.read_bytes()
  lines = before.splitlines()
  rows = []
  for i, line in enumerate(lines):
    try:
      row = json.loads(line)
      kept = row["step"] <= limit
    except (ValueError, TypeError, KeyError):
      if i + 1 < len(lines):
        raise BadInput(f"{path}, line {i + 1}: not a JSON object with a step") from None
      continue
    if kept:
      rows.append(row)
  after = "".join(map(_line, rows)).encode()
  if after != before:
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "wb") as file:
      file.write(after)
      file.flush()
      os.fsync(file.fileno())
    os.replace(fresh, path)
  return rows
