"""Where numbers and pictures of a run go: metrics.jsonl, TensorBoard, Weights & Biases."""

import contextlib
import json
import math
import os
import pathlib
import secrets
import time
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
    with _writing(path):
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
      with _writing(self._path):
        self._file.write(_line({"step": int(step), **row}))
        self._file.flush()

  def image(self, step: int, name: str, pixels: Image) -> None:
    """Does nothing: pictures lie under `views/`."""

  def close(self) -> None:
    """Closes the file."""
    with _writing(self._path):
      self._file.close()


@contextlib.contextmanager
def _writing(path: str | os.PathLike[str]) -> Iterator[None]:
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


SEGMENT = 1 << 18  # bytes from which on an event file is followed by the next


class TensorBoard:
  """TensorBoard event files, by the formats of tensorboardX and without TensorFlow.

  One follows the other, so that a bucket, which is given whole files, gets no byte too often.
  On resume from `start_step`, TensorBoard hides what the killed run wrote for later steps.
  Pictures have 1 (grey), 3 (RGB) or 4 (RGBA) channels.
  """

  def __init__(self, directory: str | os.PathLike[str], start_step: int | None = None):
    # Not its SummaryWriter: that one writes from a thread, and a kill loses what it still holds.
    from tensorboardX import event_file_writer, summary
    from tensorboardX.proto import event_pb2

    self._summary, self._event = summary, event_pb2.Event
    self._directory, self._open = pathlib.Path(directory), event_file_writer.EventsWriter
    with _writing(directory):
      self._directory.mkdir(parents=True, exist_ok=True)
    self._begin()
    if start_step is not None:
      start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
      self._write(start_step + 1, session_log=start)

  def scalars(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
    """Writes one event, on disk before the call returns."""
    parts = [self._summary.scalar(name, float(value)).value[0] for name, value in values.items()]
    self._write(step, summary=self._summary.Summary(value=parts))

  def image(self, step: int, name: str, pixels: Image) -> None:
    """Writes a picture as PNG; raises `BadInput` for other than 1, 3 or 4 channels."""
    if pixels.shape[-1] not in (1, 3, 4):
      raise BadInput(f"picture {name!r} has {pixels.shape[-1]} channels; 1, 3 or 4 can be shown")
    self._write(step, summary=self._summary.image(name, pixels, dataformats="HWC"))

  def close(self) -> None:
    """Closes the event file."""
    with _writing(self._directory):
      self._file.close()

  def _begin(self) -> None:
    """Begins the next file, whose name is the last in the order of names, as readers go."""
    # The name holds whole seconds only, and a second file of that name would replace the first.
    with _writing(self._directory):
      self._file = self._open(os.fspath(self._directory / "events"), f".{time.time_ns()}")
    self._left = SEGMENT

  def _write(self, step: int, **content: Any) -> None:
    event = self._event(wall_time=time.time(), step=int(step), **content)
    with _writing(self._directory):
      if self._left <= 0:
        self._file.close()
        self._begin()
      self._file.write_event(event)
      self._file.flush()
    self._left -= event.ByteSize()


class WandB:
  """A Weights & Biases run, continued by every run on the same directory.

  Its x-axis is `step`, not the order of arrival, so that a resumed run may write a step again.
  Raises `BadInput` where the package is missing.
  """

  def __init__(
    self,
    project: str,
    name: str | None,
    config: Mapping[str, Any],
    directory: str | os.PathLike[str],
  ):
    try:
      import wandb
    except ImportError as error:
      raise BadInput("Weights & Biases is not installed: pip install 'maskjax[wandb]'") from error
    self._wandb = wandb
    self._run = wandb.init(
      project=project,
      name=name,
      config=dict(config),
      dir=os.fspath(directory),
      id=_run_id(pathlib.Path(directory)),
      resume="allow",
    )
    self._run.define_metric("*", step_metric="step")

  def scalars(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
    """Logs the numbers as one row."""
    self._run.log({"step": int(step), **{k: float(v) for k, v in values.items()}})

  def image(self, step: int, name: str, pixels: Image) -> None:
    """Logs one picture."""
    self._run.log({"step": int(step), name: self._wandb.Image(pixels)})

  def close(self) -> None:
    """Uploads what is left and ends the run."""
    self._run.finish()


def _run_id(directory: pathlib.Path) -> str:
  """The directory's run id, made on first use."""
  file = directory / "wandb" / "run_id"
  with _writing(file):
    if not file.exists():
      file.parent.mkdir(parents=True, exist_ok=True)
      file.write_text(secrets.token_hex(8))
    return file.read_text()
