"""TensorBoard: event files beside a run."""

import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any, SupportsFloat

from maskjax.errors import BadInput
from maskjax.train.log.metrics import Image, writing

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
    with writing(directory):
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
    with writing(self._directory):
      self._file.close()

  def _begin(self) -> None:
    """Begins the next file, whose name is the last in the order of names, as readers go."""
    # The name holds whole seconds only, and a second file of that name would replace the first.
    with writing(self._directory):
      self._file = self._open(os.fspath(self._directory / "events"), f".{time.time_ns()}")
    self._left = SEGMENT

  def _write(self, step: int, **content: Any) -> None:
    event = self._event(wall_time=time.time(), step=int(step), **content)
    with writing(self._directory):
      if self._left <= 0:
        self._file.close()
        self._begin()
      self._file.write_event(event)
      self._file.flush()
    self._left -= event.ByteSize()


def tensorboard(workdir: pathlib.Path, step: int | None) -> TensorBoard:
  """TensorBoard event files in `workdir/tensorboard`.

  Args:
    workdir: of a run.
    step: at which this launch goes on; None hides nothing of those before.
  """
  return TensorBoard(workdir / "tensorboard", step)
