"""The small parent of a process: answers the rendezvous, runs the real thing as its child, ends it.

It imports no jax. The child lives at one end of a socket pair: it is told of signals, and says how
it ends. Whatever happens to a child or to another parent, this one can still say it in one line and
leave with the right status: where jax's service ends a process, it aborts.
"""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

from maskjax.errors import BadInput
from maskjax.train.pod import place as places
from maskjax.train.pod.post import post
from maskjax.train.pod.rendezvous import BAD_INPUT, BUG, RESTART, Message
from maskjax.train.pod.wire import Wire

PLACE, LINK = "MASKJAX_PLACE", "MASKJAX_LINK"  # what the child finds in its environment
TICK = 0.25  # seconds between looks at the clock


class Parent:
  """Takes part in the rendezvous for one process, from the first call to the end."""

  def __init__(self, place: places.Place, command: Sequence[str]):
    self._place, self._command = place, command
    self._select = selectors.DefaultSelector()
    self._child: subprocess.Popen | None = None
    self._wire: Wire | None = None
    self._last: Message = {}  # what the child said about its end
    self._signals: list[int] = []  # not yet passed on
    self._begun = self._stopping = False
    self._post = post(place, self._select, socket.gethostname())

  def run(self) -> int:
    """Goes on until the rendezvous says to end; returns the exit status."""
    wake, woken = socket.socketpair()
    for link in (wake, woken):
      link.setblocking(False)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
      signal.signal(number, lambda number, _: self._signals.append(number))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    self._select.register(wake, selectors.EVENT_READ, lambda: wake.recv(64))
    end: Message | None = None
    while end is None:
      for key, _ in self._select.select(TICK):
        key.data()
      self._pass_signals()
      self._post.tick()
      self._watch()
      while self._post.inbox and end is None:
        end = self._obey(self._post.inbox.popleft())
    return self._leave(end)

  def _pass_signals(self) -> None:
    """The first signal goes to the child, which asks all to stop; another one ends all at once."""
    while self._signals:
      name = signal.Signals(self._signals.pop(0)).name
      if self._stopping or not self._begun:
        self._post.send({"is": "quit", "reason": name})
      elif self._wire is not None:  # else the child has ended, and those of others will
        self._wire.send({"is": "stop", "reason": name})
      self._stopping = True

  def _obey(self, message: Message) -> Message | None:
    if message["is"] == "go":
      self._start()
    return message if message["is"] == "end" else None

  def _start(self) -> None:
    self._begun = True
    ours, theirs = socket.socketpair()
    with theirs:
      environment = {**os.environ, PLACE: places.dumps(self._place), LINK: str(theirs.fileno())}
      self._child = subprocess.Popen(
        self._command, env=environment, pass_fds=[theirs.fileno()], process_group=0
      )
    self._wire = Wire(ours)
    self._select.register(self._wire, selectors.EVENT_READ, self._hear)

  def _hear(self) -> None:
    assert self._wire is not None
    messages = self._wire.receive()
    if messages is None:
      self._select.unregister(self._wire)
      self._wire.close()
      self._wire = None
    for message in messages or []:
      self._last = message

  def _watch(self) -> None:
    """Says once how the child ended."""
    if self._child is None or self._child.poll() is None:
      return
    while self._wire is not None:  # what it said last
      self._hear()
    status, line = self._child.returncode, self._last.get("line", "")
    _end_group(self._child)  # what it had started
    self._child = None
    if status < 0:
      with contextlib.suppress(ValueError):
        line = signal.Signals(-status).name
    together = self._last.get("together", False)
    self._post.send({"is": "gone", "status": status, "line": line, "together": together})

  def _leave(self, end: Message) -> int:
    status, mine = end["status"], end["of"] == self._place.index
    if self._child is not None:
      _end_group(self._child)
      self._child.wait()
    if mine and status == BUG and self._last.get("trace"):
      print(self._last["trace"], file=sys.stderr, end="")
    elif end["line"] and not (self._last.get("said") and self._last["status"] == status):
      word = "stopped" if status == RESTART else "error"
      print(f"{word}: {end['line']}", file=sys.stderr)
    self._post.close()
    return status


def _end_group(child: subprocess.Popen) -> None:
  with contextlib.suppress(ProcessLookupError):
    os.killpg(child.pid, signal.SIGKILL)


def main(argv: Sequence[str]) -> int:
  """Runs `argv[1:]`, the command of the child, at the place that `argv[0]` describes."""
  try:
    return Parent(places.loads(argv[0]), argv[1:]).run()
  except BadInput as error:
    print(f"error: {error}", file=sys.stderr)
    return BAD_INPUT
