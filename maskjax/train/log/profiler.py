"""A trace of a few steps, on request."""

import contextlib
import pathlib
from typing import Self

import jax


class Profiler:
  """Traces `steps` steps from step `first` on into a folder that TensorBoard and Perfetto read.

  `steps=0` traces nothing. A trace still open when the run ends is written then.
  """

  def __init__(self, folder: pathlib.Path, *, first: int = 10, steps: int = 0):
    self._folder, self._first, self._last = folder, first, first + steps - 1
    self._tracing = False

  def __enter__(self) -> Self:
    """Starts nothing yet."""
    return self

  def __exit__(self, *error: object) -> None:
    """Writes a trace that is still open."""
    self._stop()

  def step(self, step: int) -> contextlib.AbstractContextManager:
    """The block of one step, marked with its number where a trace is on."""
    if self._tracing and step > self._last:
      self._stop()
    if step == self._first and step <= self._last:
      jax.profiler.start_trace(str(self._folder))
      self._tracing = True
    if not self._tracing:
      return contextlib.nullcontext()
    return jax.profiler.StepTraceAnnotation("train", step_num=step)

  def _stop(self) -> None:
    if self._tracing:
      jax.profiler.stop_trace()
      self._tracing = False
