"""The rendezvous: who is there, where all stop, who is gone. Pure; `post` gives it sockets.

A message is a dict with "is". From the processes come

  hello(host, count)          it is there
  beat                        it still is
  stop(reason)                it was asked to stop
  at(point)                   how many points its run has passed, where it now holds
  meet(name, value)           it waits for all others
  gone(status, line)          its run ended
  quit(reason)                it leaves at once

and to them go

  go(hosts)                   all are there: begin
  beat                        the rendezvous is still called
  where(reason)               hold, and say how far you are
  until(point)                pass so many points and stop there; None for none
  met(name, values)           all have come
  late(name, absent)          these have not, for a long time
  end(status, line, of)       leave with this status; `of` is who caused it
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

DONE, BUG, BAD_INPUT, RESTART = 0, 1, 2, 75
BEAT = 2.0  # seconds from one sign of life to the next
DEAD = 15.0  # seconds of silence that mean death
HOLD = DEAD + 2  # seconds that a failed run waits for its cause: a peer may have been lost
LATE = 60.0  # seconds after which those who wait are told for whom
BY_HAND = (-2, -9, -15)  # SIGINT, SIGKILL (also for want of memory), SIGTERM: nobody else's fault
AGAIN = "the same command goes on from the last checkpoint"

Message = dict[str, Any]
Sends = list[tuple[int, Message]]


@dataclasses.dataclass
class Peer:
  """What is known of a process: where, when last heard, how far, and how its run ended."""

  host: str = ""
  here: bool = False
  seen: float = 0.0
  at: int | None = None
  status: int | None = None
  line: str = ""


@dataclasses.dataclass
class Barrier:
  """Who has come to a barrier, with what, and when those who wait are next told for whom."""

  values: dict[int, Any]
  late: float


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


class Rendezvous:
  """The state of a pod; every call takes what happened and when, and returns what to send."""

  def __init__(self, count: int, *, seconds: float, now: float):
    self.peers = [Peer() for _ in range(count)]
    self.running = False
    self.ended: Message | None = None
    self._deadline, self._seconds, self._beat = now + seconds, seconds, now
    self._reason, self._agreed = "", False
    self._suspect: tuple[int, float] | None = None
    self._barriers: dict[str, Barrier] = {}

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
      case "stop":
        return self._stop(index, message["reason"])
      case "at":
        peer.at = message["point"]
        return self._agree()
      case "meet":
        return self._meet(index, message["name"], message["value"], now)
      case "gone":
        peer.status, peer.line = message["status"], message["line"]
        return self._gone(index, now)
      case "quit":
        return self._end(RESTART, f"{message['reason']} at {self.name(index)}: {AGAIN}", index)
    return []

  def lost(self, index: int) -> Sends:
    """Takes note that a process cannot be heard any more."""
    peer = self.peers[index]
    if self.ended is not None or not peer.here:
      return []
    if not self.running:
      peer.here = False  # it may come again
      return []
    if peer.status == DONE or (self._agreed and peer.status == RESTART):
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
    sends = self._late(now)
    if now - self._beat >= BEAT:
      self._beat = now
      sends += self._all({"is": "beat"})
    return sends

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

  def _stop(self, index: int, reason: str) -> Sends:
    reason = f"{reason} at {self.name(index)}"
    if not self.running:
      return self._end(RESTART, f"{reason} before all were there: {AGAIN}", index)
    if self._reason:
      return []
    self._reason = reason
    asked = {"is": "where", "reason": reason}
    return [(i, asked) for i, peer in enumerate(self.peers) if peer.status is None] + self._agree()

  def _agree(self) -> Sends:
    """Once all who run have said how far they are: all go as far as the furthest."""
    waiting = [p for p in self.peers if p.status is None and p.at is None]
    if not self._reason or self._agreed or waiting:
      return []
    self._agreed = True
    # One that has ended well needs no other any more: let all end well.
    over = any(peer.status == DONE for peer in self.peers)
    furthest = None if over else max((p.at for p in self.peers if p.at is not None), default=None)
    return self._all({"is": "until", "point": furthest})

  def _meet(self, index: int, name: str, value: Any, now: float) -> Sends:
    barrier = self._barriers.setdefault(name, Barrier({}, now + LATE))
    barrier.values[index] = value
    if len(barrier.values) == len(self.peers):
      del self._barriers[name]
      values = [barrier.values[i] for i in range(len(self.peers))]
      return self._all({"is": "met", "name": name, "values": values})
    return self._apart()

  def _apart(self) -> Sends:
    """Ends what cannot go on: all wait, but not at one place; or one waits for those who left."""
    there = {i for barrier in self._barriers.values() for i in barrier.values}
    moving = [i for i, p in enumerate(self.peers) if p.status is None and i not in there]
    if not there or moving or self._suspect:
      return []
    said = "; ".join(f"{listed(m.values)} at {n!r}" for n, m in self._barriers.items())
    return self._end(BUG, f"the processes went different ways: {said}", min(there))

  def _late(self, now: float) -> Sends:
    sends: Sends = []
    for name, barrier in self._barriers.items():
      if now >= barrier.late:
        barrier.late = now + LATE
        absent = [i for i in range(len(self.peers)) if i not in barrier.values]
        told = {"is": "late", "name": name, "absent": listed(absent)}
        sends += [(i, told) for i in barrier.values]
    return sends

  def _gone(self, index: int, now: float) -> Sends:
    peer = self.peers[index]
    left = [p for p in self.peers if p.status is None]
    if peer.status == BAD_INPUT or (peer.status == RESTART and not self._agreed):
      return self._blame(index)
    if peer.status in BY_HAND:
      return self._blame(index)
    if peer.status not in (DONE, RESTART) and self._suspect is None:
      self._suspect = index, now + HOLD
    if left:
      return self._agree() or self._apart()
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
