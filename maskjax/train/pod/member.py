"""This process as one of a pod: what it asks of the others, and what its parent asks of it.

They meet through jax's coordination service: its key-value store and its preemption sync point. It
was initialised by us, where a small parent started each process, or by someone else (Ray, a user's
script).
"""

import contextlib
import ctypes
import json
import os
import select
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
from maskjax.train.pod import find, service
from maskjax.train.pod import place as places
from maskjax.train.pod.parent import LINK, PLACE
from maskjax.train.pod.rendezvous import DONE, RESTART
from maskjax.train.pod.wire import Wire

DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl
STOP = "maskjax/stop"  # who was asked to stop, and how
FALLBACK = "SIGTERM at one of the processes"


class Member:
  """One of `count` processes, which meet through jax's coordination service.

  Alone, without a client of it, a process meets nobody and is never asked to stop by others.

  Attributes:
    index: which of them; 0 is the only one to write.
    count: how many.
    reason: who asked all to stop, and how; empty while nobody did.
  """

  def __init__(self, index: int = 0, count: int = 1, client: Any = None, wire: Wire | None = None):
    self.index, self.count, self.reason = index, count, ""
    self._client, self._wire, self._saves = client, wire, False
    self._barriers, self._points = 0, 0

  @property
  def ours(self) -> bool:
    """Whether a parent of ours started this process and hears how it ends."""
    return self._wire is not None

  @property
  def first(self) -> bool:
    """Whether this process is the one that writes."""
    return self.index == 0

  def leave(self) -> bool:
    """Passes a point that all processes pass in the same order; True where all are to leave.

    That is jax's preemption sync point, where its service for this is on, which is the default.
    """
    on = self._client is not None and distributed.global_state.preemption_sync_manager is not None
    if self.reason or not on:
      return bool(self.reason)
    self._points += 1
    if multihost_utils.reached_preemption_sync_point(self._points):
      self.reason = self._asked()
    return bool(self.reason)

  def _asked(self) -> str:
    try:
      return self._client.key_value_try_get(STOP)
    except jax.errors.JaxRuntimeError:  # the signal came to the process itself
      return FALLBACK

  @contextlib.contextmanager
  def saving(self) -> Iterator[None]:
    """A block that comes to points where it can leave; elsewhere nothing is lost by dying.

    What made an earlier one leave is over.
    """
    before, self._saves, self.reason = self._saves, True, ""
    try:
      yield
    finally:
      self._saves = before

  def barrier(self, name: str, value: Any = None) -> list[Any]:
    """Waits until all are here; returns what each brought, anything JSON can hold.

    Process 0 gathers and tells all: 2 n messages for n processes. Whoever waits is told for whom.
    """
    if self.count == 1:
      return [value]
    self._barriers += 1
    place, about = f"maskjax/{self._barriers}", f"{name} ({self._barriers})"
    if self.first:
      values = service.gathered(self._client, place, value, self.count, about)
      self._client.key_value_set(place, json.dumps(values))
      # All are here, so all have read what was told before.
      self._client.key_value_delete(f"maskjax/{self._barriers - 1}")
      return values
    self._client.key_value_set(f"{place}/{self.index}", json.dumps(value))
    return service.heard(self._client, place, 0, about)

  def end(self, status: int, line: str, *, said: bool, trace: str = "") -> None:
    """Tells the parent how the run ends: in one line, `said` already or not, and in a traceback."""
    if self._wire is not None:
      together = status == RESTART and bool(self.reason)
      last = {"status": status, "line": line, "said": said, "together": together}
      self._wire.send({"is": "last", **last, "trace": trace[-(1 << 16) :]})

  def listen(self) -> None:
    """Takes note of what the parent says, in a thread of its own, and of SIGINT."""
    threading.Thread(target=self._listen, daemon=True).start()
    ask = lambda *_: threading.Thread(target=self._stop, args=("SIGINT",), daemon=True).start()
    signal.signal(signal.SIGINT, ask)

  def _listen(self) -> None:
    assert self._wire is not None
    while select.select([self._wire], [], []) and (found := self._wire.receive()) is not None:
      for message in found:
        self._stop(message["reason"])
    os.killpg(0, signal.SIGKILL)  # the parent is dead

  def _stop(self, reason: str) -> None:
    """Asks all to stop, as SIGTERM here does, and says who."""
    said = f"{reason} at process {self.index} ({socket.gethostname()})"
    if not self._saves:
      self.end(RESTART, f"{said}: outside training, where nothing is lost", said=False)
      os._exit(RESTART)
    self._client.key_value_set(STOP, said, allow_overwrite=True)
    os.kill(os.getpid(), signal.SIGTERM)


_me = Member()
_guest: Member | None = None
_alone = False  # whether somebody said that this process is a run of its own


def me() -> Member:
  """This process: what its parent or, where somebody initialised it, jax's service says it is."""
  global _guest
  state = distributed.global_state
  if _me.ours or state.client is None:
    return _me
  if _guest is None or _guest._client is not state.client:
    _guest = Member(jax.process_index(), state.num_processes, state.client)
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
  jax.config.update("jax_enable_preemption_service", True)
  jax.config.update("jax_cpu_collectives_implementation", "gloo")
  jax.distributed.initialize(
    place.coordinator,
    place.count,
    place.index,
    local_device_ids=place.devices,
    cluster_detection_method="deactivate",
    initialization_timeout=int(place.seconds) + 1,
  )
  _me = Member(place.index, place.count, distributed.global_state.client, Wire(link))
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
