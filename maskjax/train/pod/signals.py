"""Being asked to stop: it is noted, and the loop leaves at the end of a step.

Of several processes any may be asked; all leave after the same step, by jax's service: `member`.
"""

import contextlib
import contextvars
import signal
import threading
from collections.abc import Iterator

from maskjax.train.pod.member import me


class Stopped(Exception):  # noqa: N818
  """Work that can be done again was left because of a `Stop`."""


class Stop:
  """Whether someone asked the run to stop, and how."""

  def __init__(self):
    self.reason = ""

  def __bool__(self) -> bool:
    """True once a signal came."""
    return bool(self.reason)

  def here(self) -> bool:
    """Whether to leave at this point, which all processes pass, with the same answer."""
    if me().leave():
      self.reason = me().reason
    return bool(self)

  def check(self) -> None:
    """Raises `Stopped` at such a point if it is time to leave."""
    if self.here():
      raise Stopped


_within: contextvars.ContextVar[Stop | None] = contextvars.ContextVar("stop", default=None)


@contextlib.contextmanager
def asked_to_stop() -> Iterator[Stop]:
  """Notes SIGTERM and SIGINT while the block runs; a second signal has its usual effect at once.

  A block within another, a run of a sweep say, has the other's `Stop`: what came too late for one
  run to leave is known to the next.
  """
  if (outer := _within.get()) is not None:
    yield outer
    return
  with _noted() as stop:
    token = _within.set(stop)
    try:
      yield stop
    finally:
      _within.reset(token)


@contextlib.contextmanager
def _noted() -> Iterator[Stop]:
  """As `asked_to_stop`, of a block that lies in no other.

  Outside the main thread Python delivers no signals. There, and of several processes, jax notes
  SIGTERM, from its start, where somebody initialised its distributed service.
  """
  stop = Stop()
  if me().count > 1 or threading.current_thread() is not threading.main_thread():
    with me().saving():
      yield stop
    return
  before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

  def restore() -> None:
    for number, handler in before.items():
      signal.signal(number, handler)

  def note(number: int, frame: object) -> None:
    stop.reason = signal.Signals(number).name
    restore()

  for number in before:
    signal.signal(number, note)
  try:
    yield stop
  finally:
    restore()
