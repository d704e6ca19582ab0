"""Where all processes stop: the furthest point that any of them has begun."""

import sys
import threading


class Gate:
  """Points that every process passes in the same order, and the last that all pass.

  The run asks at each point whether to leave there. Another thread, once someone asked all to stop,
  holds the run and tells how many points it has passed; the rendezvous answers with the most that
  any process has passed, and all go on to that one: whoever waits in a collective is joined there.

  >>> gate = Gate()
  >>> gate.leave(), gate.leave()
  (False, False)
  >>> gate.hold()
  2
  >>> gate.open(3)
  >>> gate.leave(), gate.leave()
  (False, True)
  """

  def __init__(self):
    self._passed, self._held, self._last = 0, False, sys.maxsize
    self._change = threading.Condition()

  def leave(self) -> bool:
    """Passes a point, or waits until it is known whether to; True where the run ends instead."""
    with self._change:
      while self._held:
        self._change.wait()
      if self._passed >= self._last:
        return True
      self._passed += 1
      return False

  def hold(self) -> int:
    """Lets no further point be passed until `open`; returns how many were."""
    with self._change:
      self._held = True
      return self._passed

  def open(self, last: int | None) -> None:
    """Lets the run go on to the point `last`; None for its end."""
    with self._change:
      self._held = False
      self._last = sys.maxsize if last is None else last
      self._change.notify_all()
