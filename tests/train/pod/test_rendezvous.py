"""The roll without sockets: who comes, who leaves, what is said of those who are lost."""

import itertools

import pytest

from maskjax.train.pod.place import place
from maskjax.train.pod.rendezvous import BEAT, DEAD, HOLD, Rendezvous


def hello(index, count):
  return {"is": "hello", "host": f"h{index}", "count": count}


def gone(status, line="", together=False):
  return {"is": "gone", "status": status, "line": line, "together": together}


def complete(count, now=0.0):
  """A roll to which all have come."""
  roll = Rendezvous(count, seconds=300, now=now)
  for index in range(count):
    sends = roll.hear(index, hello(index, count), now)
  assert sorted(i for i, _ in sends) == list(range(count))
  assert {m["is"] for _, m in sends} == {"go"}
  return roll


def ends(sends, count):
  """The one end that all are told."""
  assert sorted(i for i, _ in sends) == list(range(count))
  assert all(message == sends[0][1] for _, message in sends)
  assert sends[0][1]["is"] == "end"
  return sends[0][1]["status"], sends[0][1]["line"]


def test_nobody_begins_before_all_are_there_and_the_absent_are_named():
  roll = Rendezvous(6, seconds=300, now=0.0)
  for index in (0, 2):
    assert roll.hear(index, hello(index, 6), 1.0) == []
  for index in (0, 2):
    roll.hear(index, {"is": "beat"}, 299.0)
  assert [m["is"] for _, m in roll.tick(299.9)] == ["beat"] * 2
  (first, end), (second, _) = roll.tick(300.0)
  assert (first, second, end["status"]) == (0, 2, 75)
  assert "processes 1, 3-5 of 6 did not come within 300 s" in end["line"]
  assert "(there: 0 on h0, 2 on h2)" in end["line"]
  assert roll.tick(1000.0) == []


def test_one_that_left_before_the_start_may_come_again():
  roll = Rendezvous(3, seconds=300, now=0.0)
  roll.hear(0, hello(0, 3), 0.0)
  roll.hear(1, hello(1, 3), 0.0)
  assert roll.lost(1) == []
  assert roll.hear(2, hello(2, 3), 0.0) == []
  assert len(roll.hear(1, hello(1, 3), 0.0)) == 3


def test_processes_that_were_told_different_numbers():
  roll = Rendezvous(2, seconds=300, now=0.0)
  roll.hear(0, hello(0, 2), 0.0)
  status, line = ends(roll.hear(1, hello(1, 4), 0.0), 2)
  assert status == 2
  assert "process 1 (h1) was told of 4 processes, process 0 (h0) of 2" in line


@pytest.mark.parametrize("how", ["closed", "silent", "killed"])
def test_a_lost_process_ends_all_at_once_with_one_line(how):
  roll = complete(4)
  if how == "closed":
    sends = roll.lost(3)
  elif how == "killed":
    sends = roll.hear(3, gone(-9, "SIGKILL"), 1.0)
  else:
    for index, now in itertools.product(range(3), (10.0, 20.0)):
      roll.hear(index, {"is": "beat"}, now)
    assert all(m["is"] == "beat" for _, m in roll.tick(DEAD))
    sends = roll.tick(DEAD + 0.1)
  status, line = ends(sends, 4)
  assert status == 75
  assert line.startswith("process 3 (h3) " + ("was killed" if how == "killed" else "vanished"))
  assert line.endswith("the same command goes on from the last checkpoint")


@pytest.mark.parametrize("cause", ["lost", "killed", "silent", "none", "all"])
def test_a_failure_is_blamed_on_a_lost_peer_if_there_was_one(cause):
  """A collective fails where a peer dies, and may be heard of before that peer's death."""
  roll = complete(3)
  for index in (0, 1, 2):
    roll.hear(index, {"is": "beat"}, 5.0)
  assert roll.hear(0, gone(1, "JaxRuntimeError: connection reset"), 6.0) == []
  if cause == "lost":
    assert ends(roll.lost(2), 3)[0] == 75
  elif cause == "killed":
    assert ends(roll.hear(2, gone(-9, "SIGKILL"), 7.0), 3)[0] == 75
  elif cause == "all":
    assert roll.hear(1, gone(1, "b"), 7.0) == []
    assert ends(roll.hear(2, gone(1, "c"), 7.0), 3)[0] == 1
  else:
    alive = (0, 1) if cause == "silent" else (0, 1, 2)
    for index in alive:
      roll.hear(index, {"is": "beat"}, 6.0 + HOLD - 1)
    status, line = ends(roll.tick(6.0 + HOLD), 3)
    assert status == (75 if cause == "silent" else 1)
    named = "process 2 (h2) vanished" if cause == "silent" else "process 0 (h0): JaxRuntimeError"
    assert line.startswith(named)


@pytest.mark.parametrize("status", [2, 75])
def test_bad_input_and_leaving_unasked_end_all_alike(status):
  roll = complete(3)
  line = ends(roll.hear(1, gone(status, "no such file"), 1.0), 3)
  assert line == (status, "process 1 (h1): no such file")


def test_all_done():
  roll = complete(3)
  assert roll.hear(1, gone(0), 1.0) == []
  assert roll.lost(1) == []  # its machine may go
  assert roll.hear(0, gone(0), 1.0) == []
  assert [m["status"] for _, m in roll.hear(2, gone(0), 1.0)] == [0] * 3


def test_a_signal_before_the_start_and_a_second_one_end_at_once():
  roll = Rendezvous(2, seconds=300, now=0.0)
  roll.hear(0, hello(0, 2), 0.0)
  ((_, end),) = roll.hear(0, {"is": "quit", "reason": "SIGTERM"}, 1.0)
  assert end["status"] == 75
  assert "SIGTERM at process 0 (h0) before all were there" in end["line"]
  roll = complete(2)
  assert ends(roll.hear(0, {"is": "quit", "reason": "SIGTERM"}, 2.0), 2)[0] == 75


def test_those_who_leave_together_wait_for_each_other():
  roll = complete(3)
  assert roll.hear(0, gone(75, "a", together=True), 1.0) == []
  assert roll.lost(0) == []  # its machine may go
  assert roll.hear(1, gone(75, "b", together=True), 1.0 + HOLD) == []
  roll.hear(2, {"is": "beat"}, 1.0 + HOLD)
  assert [m["is"] for _, m in roll.tick(1.0 + HOLD)] == ["beat"] * 3
  assert ends(roll.hear(2, gone(75, "c", together=True), 2.0 + HOLD), 3)[0] == 75
  roll = complete(2)
  roll.hear(0, gone(75, "a", together=True), 1.0)
  status, line = ends(roll.lost(1), 2)
  assert (status, line.partition(";")[0]) == (75, "process 1 (h1) vanished")


def test_the_roll_is_called_now_and_then():
  roll = complete(2)
  beats = [now for now in range(9) if roll.tick(float(now))]
  assert beats == list(range(int(BEAT), 9, int(BEAT)))


def test_ports():
  assert place("a:65535", 2, 0).port == 65534
  assert place("[::1]:80", 2, 0, port=7).host == "::1"
