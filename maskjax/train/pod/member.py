"""This process as one of a pod: what it asks of the others, and what its parent asks of it.

A pod is ours, where a small parent started each process, or jax's, where someone else (Ray, a
user's script) called `jax.distributed.initialize`: then the processes meet through its service.
"""

import contextlib
import ctypes
import json
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
from jax._src import distributed
from jax.experimental import multihost_utils

from maskjax.errors import BadInput
from maskjax.train.pod import find
from maskjax.train.pod import place as places
from maskjax.train.pod.gate import Gate
from maskjax.train.pod.parent import LINK, PLACE
from maskjax.train.pod.rendezvous import DONE, LATE, RESTART, Message, listed
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
    self._speaking, self._barriers, self._saves = threading.Lock(), 0, False

  @property
  def ours(self) -> bool:
    """Whether a parent of ours started this process and hears how it ends."""
    return self._wire is not None

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

  def barrier(self, name: str, value: Any = None) -> list[Any]:
    """Waits until all are here; returns what each brought, anything JSON can hold.

    Whoever waits for a process that dies dies too, by its parent; of one that is late it is told.
    """
    if self._wire is None:
      return [value]
    self._barriers += 1
    self._say({"is": "meet", "name": f"{name} ({self._barriers})", "value": value})
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


class Guest(Member):
  """One of the processes that someone else made of jax: it meets them through jax's own service.

  A SIGTERM at any of them makes all leave at jax's preemption sync point, where its service for
  this is on, which is the default. When one is lost jax ends the others.
  """

  def __init__(self, client: Any, index: int, count: int):
    super().__init__(index, count)
    self._client, self._points = client, 0

  def leave(self) -> bool:
    """Passes a point that all processes pass in the same order; True where all are to leave."""
    if not self.reason and distributed.global_state.preemption_sync_manager is not None:
      self._points += 1
      if multihost_utils.reached_preemption_sync_point(self._points):
        self.reason = "SIGTERM at one of the processes"
    return bool(self.reason)

  @contextlib.contextmanager
  def saving(self) -> Iterator[None]:
    """A block that comes to points where it can leave; what made an earlier one leave is over."""
    self.reason = ""
    yield

  def barrier(self, name: str, value: Any = None) -> list[Any]:
    """Waits until all are here; returns what each brought, anything JSON can hold.

    Process 0 gathers and tells all: 2 n messages for n processes.
    """
    self._barriers += 1
    place = f"maskjax/{self._barriers}"
    if self.first:
      values = [value]
      for index in range(1, self.count):
        values.append(json.loads(self._heard(f"{place}/{index}", name, index)))
        self._client.key_value_delete(f"{place}/{index}")
      self._client.key_value_set(place, json.dumps(values))
      # All are here, so all have read what was told before.
      self._client.key_value_delete(f"maskjax/{self._barriers - 1}")
      return values
    self._client.key_value_set(f"{place}/{self.index}", json.dumps(value))
    return json.loads(self._heard(place, name, 0))

  def _heard(self, key: str, name: str, index: int) -> str:
    while True:
      try:
        return self._client.blocking_key_value_get(key, int(LATE * 1000))
      except jax.errors.JaxRuntimeError as error:
        if "DEADLINE_EXCEEDED" not in str(error):
          raise
      log.warning("waiting for %s at %s", listed([index]), f"{name} ({self._barriers})")


_me = Member()
_guest: Guest | None = None
_alone = False  # whether somebody said that this process is a run of its own


def me() -> Member:
  """This process: what its parent or, where somebody initialised it, jax's service says it is."""
  global _guest
  state = distributed.global_state
  if _me.ours or state.client is None or state.num_processes == 1:
    return _me
  if _guest is None or _guest._client is not state.client:
    _guest = Guest(state.client, jax.process_index(), state.num_processes)
  return _guest


def alone() -> None:
  """Takes note that this process is a run of its own, whatever its environment speaks of."""
  global _alone
  _alone = True


def check() -> None:
  """Refuses to run where several processes would each take themselves for the first.

  Raises:
    BadInput: jax counts otherwise; the environment speaks of processes that jax does not know.
  """
  if me().count != jax.process_count():
    raise BadInput(
      f"jax has devices of {jax.process_count()} process(es), its distributed service is of "
      f"{me().count}: call jax.distributed.initialize before anything else"
    )
  if me().count == 1 and not _alone and not jax.distributed.is_initialized():
    find.refuse_several()


def join(environment: MutableMapping[str, str] = os.environ) -> Member:
  """Makes this process the member that its parent says it is, and jax one of so many processes."""
  global _me
  if PLACE not in environment:
    return me()
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
  if not _me.ours:
    return
  sys.stdout.flush()
  sys.stderr.flush()
  if status not in (DONE, RESTART):
    os._exit(status)
  jax.distributed.shutdown()
