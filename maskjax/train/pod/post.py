"""How messages get to where the rendezvous is called and back: by process 0 itself, or over TCP.

Parents speak by sockets of their own: they import no jax, and live when its service is dead.
"""

import collections
import contextlib
import selectors
import socket
import time
from collections.abc import Callable

from maskjax.errors import BadInput
from maskjax.train.pod.place import Place
from maskjax.train.pod.rendezvous import AGAIN, BEAT, DEAD, RESTART, Message, Rendezvous, Sends
from maskjax.train.pod.wire import Wire

RETRY = 0.5  # seconds between attempts to reach process 0
BINDING = 10.0  # seconds that a port still held by an earlier launch is waited for
LINGER = 5.0  # seconds that the last message is given to arrive


def listen(port: int, seconds: float = BINDING) -> socket.socket:
  """A listening socket on all interfaces.

  Raises:
    BadInput: the port is in use, or not allowed.
  """
  until = time.monotonic() + seconds
  six = socket.has_dualstack_ipv6()
  family = socket.AF_INET6 if six else socket.AF_INET
  while True:
    try:
      return socket.create_server(
        ("", port), family=family, backlog=1024, dualstack_ipv6=six, reuse_port=False
      )
    except OSError as error:
      if time.monotonic() >= until:
        raise BadInput(
          f"port {port} of this host cannot be listened on ({error.strerror}): "
          "try --rendezvous_port"
        ) from error
      time.sleep(RETRY)


class Desk:
  """Where the rendezvous is called: in process 0, which is a member like the others."""

  def __init__(self, place: Place, select: selectors.BaseSelector, host: str):
    self.inbox: collections.deque[Message] = collections.deque()
    self._select, self._server = select, listen(place.port)
    self._wires: dict[int, Wire] = {}
    self._rendezvous = Rendezvous(place.count, seconds=place.seconds, now=time.monotonic())
    select.register(self._server, selectors.EVENT_READ, self._accept)
    self.send({"is": "hello", "host": host, "count": place.count})

  def send(self, message: Message) -> None:
    """Says something as process 0."""
    self._deliver(self._rendezvous.hear(0, message, time.monotonic()))

  def tick(self) -> None:
    """Lets time pass."""
    self._rendezvous.peers[0].seen = time.monotonic()
    self._deliver(self._rendezvous.tick(time.monotonic()))

  def close(self) -> None:
    """Waits a little until all have read the last message and left."""
    until = time.monotonic() + LINGER
    while self._wires and time.monotonic() < until:
      for key, _ in self._select.select(0.1):
        if key.fileobj in self._wires.values() and key.fileobj.receive() is None:  # type: ignore
          self._drop(next(i for i, w in self._wires.items() if w is key.fileobj))
    for index in list(self._wires):
      self._drop(index)
    self._select.unregister(self._server)
    self._server.close()

  def _deliver(self, sends: Sends) -> None:
    for index, message in sends:
      if index == 0:
        self.inbox.append(message)
      elif index in self._wires and not self._wires[index].send(message):
        self._lose(index)

  def _accept(self) -> None:
    with contextlib.suppress(OSError):
      wire = Wire(self._server.accept()[0])
      self._select.register(wire, selectors.EVENT_READ, lambda: self._greet(wire))

  def _greet(self, wire: Wire) -> None:
    """Takes the first message of a connection; whoever is not expected is sent away."""
    messages = wire.receive()
    if messages == []:
      return  # half a line
    self._select.unregister(wire)
    first = messages[0] if messages else {}
    index = first.get("index")
    if first.get("is") != "hello" or not isinstance(index, int):
      return wire.close()
    if not 0 < index < len(self._rendezvous.peers) or self._rendezvous.peers[index].here:
      there = self._rendezvous.peers[index].host if 0 <= index < len(self._rendezvous.peers) else ""
      why = f"process {index} is taken by {there}" if there else f"no process {index} is expected"
      wire.send({"is": "no", "why": why})
      return wire.close()
    self._wires[index] = wire
    self._select.register(wire, selectors.EVENT_READ, lambda: self._read(index))
    for message in messages or []:
      self._deliver(self._rendezvous.hear(index, message, time.monotonic()))

  def _read(self, index: int) -> None:
    messages = self._wires[index].receive()
    if messages is None:
      return self._lose(index)
    for message in messages:
      self._deliver(self._rendezvous.hear(index, message, time.monotonic()))

  def _lose(self, index: int) -> None:
    if index in self._wires:
      self._drop(index)
      self._deliver(self._rendezvous.lost(index))

  def _drop(self, index: int) -> None:
    wire = self._wires.pop(index)
    self._select.unregister(wire)
    wire.close()


class Caller:
  """A process other than 0: keeps trying to reach it, then a connection."""

  def __init__(self, place: Place, select: selectors.BaseSelector, host: str):
    self.inbox: collections.deque[Message] = collections.deque()
    self._place, self._select, self._host = place, select, host
    self._wire: Wire | None = None
    self._until = time.monotonic() + place.seconds
    self._seen = self._beat = self._tried = 0.0
    self._accepted = False
    self._why = "no answer"

  def send(self, message: Message) -> None:
    """Says something to process 0; before it is reached only to leave has a meaning."""
    if self._wire is not None:
      if not self._wire.send(message):
        self._lose()
    elif message["is"] == "quit":
      self._end(f"{message['reason']} before process 0 was reached: {AGAIN}")

  def tick(self) -> None:
    """Connects, says that it lives, and notices when process 0 does not."""
    now = time.monotonic()
    if self._wire is None:
      if now - self._tried >= RETRY:
        self._tried = now
        self._connect()
      if self._wire is None and now >= self._until:
        place = self._place
        self._end(
          f"process 0 at {place.host}:{place.port} cannot be reached within {place.seconds:g} s"
          f" ({self._why}); start all again"
        )
    elif now - self._seen > DEAD:
      self._lose()
    elif now - self._beat >= BEAT:
      self._beat = now
      self.send({"is": "beat"})

  def close(self) -> None:
    """Closes the connection."""
    if self._wire is not None:
      self._select.unregister(self._wire)
      self._wire.close()
      self._wire = None

  def _connect(self) -> None:
    place = self._place
    try:
      wire = Wire(socket.create_connection((place.host, place.port), timeout=2))
    except OSError as error:
      self._why = (error.strerror or str(error)).lower()
      return
    self._wire, self._seen = wire, time.monotonic()
    self._select.register(wire, selectors.EVENT_READ, self._read)
    hello = {"is": "hello", "index": place.index, "host": self._host, "count": place.count}
    wire.send(hello)

  def _read(self) -> None:
    assert self._wire is not None
    messages = self._wire.receive()
    if messages is None:
      return self._lose()
    self._seen = time.monotonic()
    for message in messages:
      if message["is"] == "no":
        self._why = message["why"]
        return self.close()
      self._accepted = True
      self.inbox.append(message)

  def _lose(self) -> None:
    self.close()
    if self._accepted:
      self._end(f"process 0 ({self._place.host}) vanished; {AGAIN}")

  def _end(self, line: str) -> None:
    self.inbox.append({"is": "end", "status": RESTART, "line": line, "of": 0})


def post(place: Place, select: selectors.BaseSelector, host: str) -> Desk | Caller:
  """The way of this process to the rendezvous."""
  kind: Callable[..., Desk | Caller] = Caller if place.index else Desk
  return kind(place, select, host)
