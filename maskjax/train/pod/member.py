"""This process as one of a pod: what it asks of the others, and what its parent asks of it."""

import contextlib
import ctypes
import logging
import os
import queue
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Iterator, MutableMapping
from typing import Any

import jax

from maskjax.train.pod import place as places
from maskjax.train.pod.gate import Gate
from maskjax.train.pod.parent import LINK, PLACE
from maskjax.train.pod.roll import DONE, RESTART, Message
from maskjax.train.pod.wire import Wire

log = logging.getLogger("maskjax")

DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl


class Member:
  """One of `count` processes; alone, it meets nobody and is never asked to stop by others.

  Attributes:
    index: which of them; 0 is the only one to write.
    count: how many.
    reason: who asked all to stop, and how; empty while nobody did.
  """

  def __init__(self, index: int = 0, count: int = 1, wire: Wire | None = None):
    self.index, self.count, self.reason = index, count, ""
    self._wire, self._gate, self._met = wire, Gate(), queue.SimpleQueue[Message]()
    self._speaking, self._meetings, self._saves = threading.Lock(), 0, False

  @property
  def first(self) -> bool:
    """Whether this process is the one that writes."""
    return self.index == 0

  def leave(self) -> bool:
    """Passes a point that all processes pass in the same order; True where all are to leave."""
    return self._wire is not None and self._gate.leave()

  @contextlib.contextmanager
  def saving(self) -> Iterator[None]:
    """A block that comes to points where it can leave; elsewhere nothing is lost by dying."""
    before, self._saves = self._saves, True
    try:
      yield
    finally:
      self._saves = before

  def meet(self, name: str, value: Any = None) -> list[Any]:
    """Waits until all are here; returns what each brought, anything JSON can hold.

    Whoever waits for a process that dies dies too, by its parent; of one that is late it is told.
    """
    if self._wire is None:
      return [value]
    self._meetings += 1
    self._say({"is": "meet", "name": f"{name} ({self._meetings})", "value": value})
    return self._met.get()["values"]

  def end(self, status: int, line: str, *, said: bool, trace: str = "") -> None:
    """Tells the parent how the run ends: in one line, `said` already or not, and in a traceback."""
    if self._wire is not None:
      last = {"status": status, "line": line, "said": said, "trace": trace[-(1 << 16) :]}
      self._say({"is": "last", **last})

  def listen(self) -> None:
    """Answers the parent from a thread of its own, and hands signals to it as soon as they come."""
    assert self._wire is not None
    woken, wake = socket.socketpair()
    woken.setblocking(False)
    wake.setblocking(False)
    # Python's own handlers run only between bytecodes of the main thread: not in a collective.
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
      signal.signal(number, lambda *_: None)
    threading.Thread(target=self._listen, args=(woken, wake), daemon=True).start()

  def _listen(self, woken: socket.socket, wake: socket.socket) -> None:
    assert self._wire is not None
    with selectors.DefaultSelector() as select:
      select.register(self._wire, selectors.EVENT_READ)
      select.register(woken, selectors.EVENT_READ)
      while True:
        for key, _ in select.select():
          if key.fileobj is woken:
            self._pass_signals(woken.recv(64))
            continue
          messages = self._wire.receive()
          if messages is None:  # the parent is dead
            os.killpg(0, signal.SIGKILL)
          for message in messages or []:
            self._hear(message)

  def _pass_signals(self, numbers: bytes) -> None:
    for number in numbers:
      if number in (signal.SIGTERM, signal.SIGINT):
        self._say({"is": "stop", "reason": signal.Signals(number).name})

  def _hear(self, message: Message) -> None:
    match message["is"]:
      case "where":
        self.reason = message["reason"]
        if not self._saves:
          line = f"{self.reason}: outside training, where nothing is lost"
          self.end(RESTART, line, said=False)
          os._exit(RESTART)
        self._say({"is": "at", "point": self._gate.hold()})
      case "until":
        self._gate.open(message["point"])
      case "met":
        self._met.put(message)
      case "late":
        log.warning("waiting for %s at %s", message["absent"], message["name"])

  def _say(self, message: Message) -> None:
    assert self._wire is not None
    with self._speaking:
      self._wire.send(message)


_me = Member()


def me() -> Member:
  """This process."""
  return _me


def join(environment: MutableMapping[str, str] = os.environ) -> Member:
  """Makes this process the member that its parent says it is, and jax one of so many processes."""
  global _me
  if PLACE not in environment:
    return _me
  place = places.loads(environment.pop(PLACE))  # not for the processes that this one starts
  if sys.platform == "linux":
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
  link = socket.socket(fileno=int(environment.pop(LINK)))
  link.set_inheritable(False)
  wire = Wire(link)
  _me = Member(place.index, place.count, wire)
  # The roll stops all at one step; jax's own handler would take the signal away.
  jax.config.update("jax_enable_preemption_service", False)
  jax.config.update("jax_cpu_collectives_implementation", "gloo")
  jax.distributed.initialize(
    place.coordinator,
    place.count,
    place.index,
    local_device_ids=place.devices,
    cluster_detection_method="deactivate",
    initialization_timeout=int(place.seconds) + 1,
  )
  _me.listen()
  return _me


def part(status: int) -> None:
  """Leaves the pod: together with the others where all is well, else at once."""
  if _me.count == 1:
    return
  sys.stdout.flush()
  sys.stderr.flush()
  if status not in (DONE, RESTART):
    os._exit(status)
  jax.distributed.shutdown()
