"""The clock against a hand-made time line, and what is shown where."""

import contextlib
import math
import os
import pty

import pytest

from maskjax.train.log.progress import Clock, Pace, Progress, line


class Time:
  """A clock that moves only when told to."""

  def __init__(self):
    self.at = 100.0

  def __call__(self):
    return self.at


@pytest.fixture
def time():
  return Time()


def test_speed_and_eta_leave_out_compiling_evaluating_and_checkpointing(time):
  clock = Clock(total=100, batch_size=8, step=10, now=time)
  with clock.phase("compile"):
    time.at += 30
  time.at += 2
  with clock.phase("data"):
    time.at += 3
  assert clock.lap(20) == Pace(2.0, 16.0, 40.0)  # 10 steps in 5 s; 80 to go
  with clock.phase("eval"):
    time.at += 1000
    with clock.phase("checkpoint"):
      time.at += 7
  time.at += 15
  assert clock.lap(30) == Pace(10 / 15, 80 / 15, 70.0)  # the ETA of all 20 steps in 20 s
  expected = {"compile": 30, "train": 17, "data": 3, "eval": 1000, "checkpoint": 7}
  assert clock.seconds == expected


def test_restart_forgets_the_step_that_compiled(time):
  clock = Clock(total=11, batch_size=1, now=time)
  time.at += 60
  clock.restart(1)
  time.at += 1
  assert clock.lap(3) == Pace(2.0, 2.0, 4.0)


def test_a_phase_ends_when_its_code_raises(time):
  clock = Clock(total=2, batch_size=1, now=time)

  def fail():
    with clock.phase("eval"):
      time.at += 5
      raise KeyError

  with pytest.raises(KeyError):
    fail()
  time.at += 1
  assert clock.lap(1).steps_per_second == 1.0


def test_no_time_gives_no_number(time):
  clock = Clock(total=2, batch_size=1, now=time)
  pace = clock.lap(0)
  assert all(math.isnan(x) for x in pace)
  assert "ETA" not in line(0, 2, math.nan, pace)
  assert "MFU" not in line(0, 2, math.nan, pace)


def test_elsewhere_than_on_a_terminal_lines_are_plain(tmp_path):
  with open(tmp_path / "log", "w") as stream, contextlib.closing(Progress(10, stream)) as progress:
    progress.show(1, "one [bold]")
    progress.show(2, "two")
    assert (tmp_path / "log").read_text() == "one [bold]\ntwo\n"  # at once, nothing around it


def read_all(screen):
  """What a terminal that was closed has shown; Linux ends it with an error."""
  shown = b""
  with contextlib.suppress(OSError):
    while part := os.read(screen, 1 << 16):
      shown += part
  os.close(screen)
  return shown.decode()


def test_on_a_terminal_the_line_moves(monkeypatch):
  monkeypatch.setenv("TERM", "xterm")
  monkeypatch.setenv("COLUMNS", "100")
  screen, terminal = pty.openpty()
  with open(terminal, "w") as stream, contextlib.closing(Progress(10, stream)) as progress:
    progress.show(1, "first [bold]")
    progress.show(10, "last")
  shown = read_all(screen)
  assert "first [bold]" in shown
  assert "\r\x1b[2K" in shown  # the line before is erased
  assert shown.index("last") > shown.index("first")
