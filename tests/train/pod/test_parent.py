"""Real parents on loopback with children that only pretend: every way to start, stop and die."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

import maskjax.train.pod as pod
from maskjax.bench.soak import free_port
from maskjax.train.pod import place as places

FOLDER = str(pathlib.Path(pod.__file__).parent)

# A run of 200 steps of 20 ms, without jax: what `member` does, as plain as can be.
CHILD = f"""
import os, pathlib, socket, sys, threading, time, types
bare = types.ModuleType("maskjax")
bare.__path__ = [{str(pathlib.Path(FOLDER).parents[1])!r}]
sys.modules["maskjax"] = bare
from maskjax.train.pod import place as places
from maskjax.train.pod.wire import Wire
place = places.loads(os.environ["MASKJAX_PLACE"])
wire = Wire(socket.socket(fileno=int(os.environ["MASKJAX_LINK"])))
wire.link.settimeout(None)
folder = pathlib.Path(sys.argv[1])
(folder / f"pid{{place.index}}").write_text(str(os.getpid()))
asked = (folder / "asked").exists
def listen():
  while (messages := wire.receive()) is not None:
    for message in messages:
      (folder / "asked").write_text(message["reason"])
  os._exit(9)
threading.Thread(target=listen, daemon=True).start()
def last(status, line, said=True, together=False, trace=""):
  told = {{"status": status, "line": line, "said": said, "together": together, "trace": trace}}
  wire.send({{"is": "last", **told}})
  if said:
    print(line, file=sys.stderr)
  sys.stderr.flush()
  os._exit(status)
exec(sys.argv[2])
for step in range(200):
  time.sleep(0.02 + 0.01 * place.index)
  if asked():
    time.sleep(place.index)  # a save, after which the others still work
    last(75, f"stopped by {{(folder / 'asked').read_text()}}", together=True)
"""


@pytest.fixture
def launch(tmp_path):
  """`launch(count, act, present, seconds)` starts parents whose children `act` first."""
  started = []

  def call(count, act="", present=None, seconds=60.0):
    where = f"127.0.0.1:{free_port()}"
    for index in present if present is not None else range(count):
      place = places.dumps(places.place(where, count, index, seconds=seconds))
      child = [sys.executable, "-c", CHILD, str(tmp_path), act]
      command = [sys.executable, FOLDER, place, *child]
      started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
    return started

  yield call
  for parent in started:
    parent.kill()
    parent.wait()


def ends(parents):
  """Exit statuses, and what each said."""
  said = [parent.communicate(timeout=120)[1] for parent in parents]
  return [parent.returncode for parent in parents], said


def running(folder, count):
  """The process ids of the children, once all run."""
  files = [folder / f"pid{index}" for index in range(count)]
  while not all(file.exists() and file.read_text() for file in files):
    time.sleep(0.02)
  return [int(file.read_text()) for file in files]


def gone(pid):
  """Whether a process ends soon."""
  for _ in range(200):
    try:
      if pathlib.Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
        return True
      os.kill(pid, 0)
    except OSError:
      return True
    time.sleep(0.05)
  return False


def test_all_do_their_work_without_a_word(launch):
  assert ends(launch(4, "os._exit(0)")) == ([0] * 4, [""] * 4)


def test_the_parent_imports_no_jax(launch, tmp_path):
  parents = launch(2)
  running(tmp_path, 2)
  for parent in parents:
    maps = pathlib.Path(f"/proc/{parent.pid}/maps").read_text()
    assert "jaxlib" not in maps
    assert "numpy" not in maps


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("to", [0, 2])
def test_a_signal_to_one_gets_to_its_child_and_all_may_save(launch, tmp_path, to, number):
  parents = launch(3)
  running(tmp_path, 3)
  time.sleep(0.3)
  parents[to].send_signal(number)
  statuses, said = ends(parents)
  assert statuses == [75] * 3
  assert said == [f"stopped by {number.name}\n"] * 3


def test_a_signal_to_one_whose_work_is_done_ends_nobody_elses(launch, tmp_path):
  parents = launch(2, "place.index and os._exit(0)")
  assert gone(running(tmp_path, 2)[1])
  time.sleep(0.5)
  parents[1].send_signal(signal.SIGTERM)
  assert ends(parents) == ([0, 0], ["", ""])


def test_a_second_signal_leaves_at_once(launch, tmp_path):
  parents = launch(2, "asked = lambda: False")  # deaf
  children = running(tmp_path, 2)
  parents[1].send_signal(signal.SIGTERM)
  time.sleep(1)
  parents[1].send_signal(signal.SIGTERM)
  statuses, said = ends(parents)
  assert statuses == [75] * 2
  assert all(one.startswith("stopped: SIGTERM at process 1 (") for one in said)
  assert all(map(gone, children))


@pytest.mark.parametrize("who", ["parent 0", "parent 2", "child 0", "child 1"])
def test_a_process_that_vanishes_ends_all_with_one_line(launch, tmp_path, who):
  parents = launch(3, "time.sleep(600)")  # in what nobody can interrupt
  children = running(tmp_path, 3)
  kind, index = who.split()
  victim = int(index)
  os.kill(parents[victim].pid if kind == "parent" else children[victim], signal.SIGKILL)
  statuses, said = ends(parents)
  assert statuses == [-9 if kind == "parent" and i == victim else 75 for i in range(3)]
  word = "vanished" if kind == "parent" else "was killed by SIGKILL"
  for i, one in enumerate(said):
    if statuses[i] == 75:
      assert one.startswith(f"stopped: process {victim} (")
      assert f") {word}" in one
      assert one.endswith("the same command goes on from the last checkpoint\n")
      assert one.count("\n") == 1
  assert all(map(gone, children))


@pytest.mark.parametrize("act", ["place.index == 1 and last(2, 'error: no such file')"])
def test_bad_input_ends_all_with_2_and_the_others_are_told_whose_it_is(launch, act):
  statuses, said = ends(launch(3, f"{act}; time.sleep(600)"))
  assert statuses == [2] * 3
  assert said[1] == "error: no such file\n"
  assert said[0] == said[2]
  assert said[0].startswith("error: process 1 (")
  assert said[0].endswith("): error: no such file\n")


def test_a_bug_of_all_shows_a_traceback_and_is_status_1(launch):
  statuses, said = ends(launch(2, "last(1, 'KeyError: 3', said=False, trace='Traceback…\\n')"))
  assert statuses == [1] * 2
  assert sorted(one.partition(" (")[0] for one in said)[0] == "Traceback…\n"
  assert any("KeyError: 3" in one for one in said)


def test_a_collective_that_fails_with_its_peer_is_no_bug(launch, tmp_path):
  act = "place.index == 0 and (time.sleep(1), last(1, 'connection reset', said=False, trace='T'))"
  parents = launch(3, f"{act}; time.sleep(600)")
  running(tmp_path, 3)
  time.sleep(2)
  parents[2].kill()
  statuses, said = ends(parents)
  assert statuses == [75, 75, -9]
  assert said[0] == said[1]
  assert said[0].startswith("stopped: process 2 (")


@pytest.mark.parametrize(
  ("present", "says"),
  [
    ([0, 2], ["processes 1, 3 of 4 did not come within 3 s", "there: 0 on ", ", 2 on "]),
    ([1], ["process 0 at 127.0.0.1:", "cannot be reached within 3 s (connection refused)"]),
  ],
)
def test_the_absent_are_named_by_all_who_came(launch, present, says):
  statuses, said = ends(launch(4, present=present, seconds=3.0))
  assert statuses == [75] * len(present)
  for one in said:
    assert one.startswith("stopped: ")
    assert one.count("\n") == 1
    assert all(part in one for part in says)


def test_a_signal_while_waiting_for_others(launch):
  parents = launch(3, present=[0, 1])
  time.sleep(2)
  parents[1].send_signal(signal.SIGTERM)
  statuses, said = ends(parents)
  assert statuses == [75, 75]
  assert all("SIGTERM at process 1" in one for one in said)
