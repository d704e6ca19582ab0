"""The rendezvous: who is there and who is gone. Pure; `post` gives it sockets.

What jax's service does not do (0.10.2): of processes that do not come it names none, all others
abort; one that is killed ends the others only after the heartbeat's timeout, and by abort too, as
does one that ends with status 2. Here those who are absent or lost are named, and all end alike.

A message is a dict with "is". From the processes come

  hello(host, count)            it is there
  beat                          it still is
  gone(status, line, together)  its run ended; together with the others, who were asked to stop too
  quit(reason)                  it leaves at once

and to them go

  go(hosts)                     all are there: begin
  beat                          the rendezvous is still called
  end(status, line, of)         leave with this status; `of` is who caused it
"""

import dataclasses
from collections.abc import Collection, Iterable
from typing import Any

DONE, BUG, BAD_INPUT, RESTART = 0, 1, 2, 75
BEAT = 2.0  # seconds from one sign of life to the next
DEAD = 15.0  # seconds of silence that mean death
HOLD = DEAD + 2  # seconds that a failed run waits for its cause: a peer may have been lost
BY_HAND = (-2, -9, -15)  # SIGINT, SIGKILL (also for want of memory), SIGTERM: nobody else's fault
AGAIN = "the same command goes on from the last checkpoint"

Message = dict[str, Any]
Sends = list[tuple[int, Message]]


@dataclasses.dataclass
class Peer:
  """What is known of a process: where, when last heard, and how its run ended."""

  host: str = ""
  here: bool = False
  seen: float = 0.0
  status: int | None = None
  line: str = ""
  together: bool = False


def listed(numbers: Iterable[int], noun: str = "process") -> str:
  """Numbers in words.

  >>> listed([3]), listed([1, 2, 3, 7])
  ('process 3', 'processes 1-3, 7')
  """
  runs: list[list[int]] = []
  for number in sorted(numbers):
    if runs and number == runs[-1][-1] + 1:
      runs[-1].append(number)
    else:
      runs.append([number])
  said = ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else str(r[0]) for r in runs)
  one = len(runs) == 1 and len(runs[0]) == 1
  return f"{noun if one else noun + 'es'} {said}"


def apart(others: Collection[int], count: int) -> tuple[str, str]:
  """Which of `count` processes are odd, in words, and the rest: `others` differ from this one.

  The odd ones are the fewer; of two halves they are the others.

  >>> apart([2], 4), apart([0, 1, 3], 4)
  (('process 2', 'processes 0-1, 3'), ('process 2', 'processes 0-1, 3'))
  """
  alike = [i for i in range(count) if i not in others]
  odd, rest = (alike, others) if len(alike) < len(others) else (others, alike)
  return listed(odd), listed(rest)


class Rendezvous:
  """The state of a pod; every call takes what happened and when, and returns what to send."""

  def __init__(self, count: int, *, seconds: float, now: float):
    self.peers = [Peer() for _ in range(count)]
    self.running = False
    self.ended: Message | None = None
    self._deadline, self._seconds, self._beat = now + seconds, seconds, now
    self._suspect: tuple[int, float] | None = None

  def name(self, index: int) -> str:
    """A process as people know it."""
    return f"process {index} ({self.peers[index].host or 'unknown host'})"

  def absent(self) -> list[int]:
    """Who has not come yet."""
    return [i for i, peer in enumerate(self.peers) if not peer.here]

  def hear(self, index: int, message: Message, now: float) -> Sends:
    """Takes a message of a process."""
    peer = self.peers[index]
    peer.seen = now
    if self.ended is not None:
      return []
    match message["is"]:
      case "hello":
        return self._hello(index, message, now)
      case "gone":
        peer.status, peer.line = message["status"], message["line"]
        peer.together = message["together"]
        return self._gone(index, now)
      case "quit":
        early = "" if self.running else " before all were there"
        line = f"{message['reason']} at {self.name(index)}{early}: {AGAIN}"
        return self._end(RESTART, line, index)
    return []

  def lost(self, index: int) -> Sends:
    """Takes note that a process cannot be heard any more."""
    peer = self.peers[index]
    if self.ended is not None or not peer.here:
      return []
    if not self.running:
      peer.here = False  # it may come again
      return []
    if peer.status == DONE or peer.together:  # its machine may go
      return []
    return self._end(RESTART, f"{self.name(index)} vanished; {AGAIN}", index)

  def tick(self, now: float) -> Sends:
    """Takes note that time passes."""
    if self.ended is not None:
      return []
    if not self.running and now >= self._deadline:
      missing = listed(self.absent())
      line = f"{missing} of {len(self.peers)} did not come within {self._seconds:g} s"
      present = ", ".join(f"{i} on {peer.host}" for i, peer in enumerate(self.peers) if peer.here)
      return self._end(RESTART, f"{line} (there: {present}); start all again", self.absent()[0])
    silent = [i for i, p in enumerate(self.peers) if p.here and now - p.seen > DEAD]
    for index in silent:
      if sends := self.lost(index):
        return sends
    if self._suspect and now >= self._suspect[1]:
      return self._blame(self._suspect[0])
    if now - self._beat < BEAT:
      return []
    self._beat = now
    return self._all({"is": "beat"})

  def _all(self, message: Message) -> Sends:
    return [(i, message) for i, peer in enumerate(self.peers) if peer.here]

  def _end(self, status: int, line: str, of: int) -> Sends:
    self.ended = {"is": "end", "status": status, "line": line, "of": of}
    return self._all(self.ended)

  def _hello(self, index: int, message: Message, now: float) -> Sends:
    peer, count = self.peers[index], len(self.peers)
    peer.host, peer.here = message["host"], True
    if message["count"] != count:
      said = f"{self.name(index)} was told of {message['count']} processes, {self.name(0)}"
      return self._end(BAD_INPUT, f"{said} of {count}: num_processes must be the same", index)
    if self.absent():
      return []
    self.running = True
    return self._all({"is": "go", "hosts": [p.host for p in self.peers]})

  def _gone(self, index: int, now: float) -> Sends:
    peer = self.peers[index]
    left = [p for p in self.peers if p.status is None]
    if peer.status == BAD_INPUT or (peer.status == RESTART and not peer.together):
      return self._blame(index)
    if peer.status in BY_HAND:
      return self._blame(index)
    if peer.status not in (DONE, RESTART) and self._suspect is None:
      self._suspect = index, now + HOLD
    if left:
      return []
    if self._suspect:
      return self._blame(self._suspect[0])
    return self._end(max(p.status or 0 for p in self.peers), "", index)

  def _blame(self, index: int) -> Sends:
    """Ends all as the run of one process ended."""
    peer = self.peers[index]
    status = peer.status or DONE
    if status < 0:
      return self._end(RESTART, f"{self.name(index)} was killed by {peer.line}; {AGAIN}", index)
    said = f": {peer.line}" if peer.line else f" ended with status {status}"
    return self._end(
      status if status in (BAD_INPUT, RESTART) else BUG, self.name(index) + said, index
    )
