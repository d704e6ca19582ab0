"""One launch at a time, one configuration for good."""

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from maskjax.errors import BadInput
from maskjax.train.workdirs import workdir as w

IDENTITY = ("model", "data.name", "seed")
CONFIG = {
  "model": {"width": 192, "patch": (4, 4)},
  "data": {"name": "digits", "workers": 2},
  "seed": 0,
  "job": "train",
}
HOLD = """
import sys, time
from maskjax.train.workdirs import workdir
with workdir.claim(sys.argv[1]):
  print("held", flush=True)
  time.sleep(60)
"""

FORK = """
import os, sys, time
from maskjax.train.workdirs import workdir
with workdir.claim(sys.argv[1]):
  if os.fork() == 0:
    print(os.getpid(), flush=True)
  time.sleep(60)
"""
WITHOUT_PERMISSION = """
import os, sys
from maskjax.train.workdirs import workdir
os.chdir(sys.argv[1])
if os.getuid() == 0:  # nothing is forbidden to root
  os.setuid(65534)
try:
  with workdir.claim("."):
    print("claimed")
except workdir.BadInput as error:
  print(error)
"""


def holder(path: pathlib.Path) -> subprocess.Popen:
  process = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True)
  assert process.stdout is not None
  assert process.stdout.readline() == "held\n"
  return process


def test_claim_creates_and_releases(tmp_path):
  for _ in range(2):
    with w.claim(tmp_path / "a" / "b") as path:
      assert path.is_dir()


def test_second_claim_in_this_process_is_refused_by_pid(tmp_path):
  with w.claim(tmp_path):
    with pytest.raises(BadInput, match=rf"in use by process {os.getpid()}$"), w.claim(tmp_path):
      pass
    with pytest.raises(BadInput, match="in use"), w.claim(tmp_path):
      pass


def test_claim_held_by_another_process_is_void_once_it_is_killed(tmp_path):
  process = holder(tmp_path)
  try:
    with pytest.raises(BadInput, match=rf"in use by process {process.pid}$"), w.claim(tmp_path):
      pass
  finally:
    process.kill()
    process.wait()
  with w.claim(tmp_path):
    assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"


def test_claim_is_not_kept_by_a_forked_worker(tmp_path):
  command = [sys.executable, "-c", FORK, tmp_path]
  parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
  assert parent.stdout is not None
  worker = int(parent.stdout.readline())
  try:
    with pytest.raises(BadInput, match=f"process {parent.pid}$"), w.claim(tmp_path):
      pass
    parent.kill()
    parent.wait()
    with w.claim(tmp_path):
      os.kill(worker, 0)  # it lives on
  finally:
    parent.kill()
    os.kill(worker, signal.SIGKILL)


def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch, caplog):
  def flock(*args):
    raise OSError(errno.ENOLCK, "No locks available")

  monkeypatch.setattr(w.fcntl, "flock", flock)
  with w.claim(tmp_path / "a") as path:
    assert path.is_dir()
  assert [r.getMessage() for r in caplog.records if "no locks available" in r.getMessage()]


def test_error_inside_releases(tmp_path):
  with pytest.raises(RuntimeError), w.claim(tmp_path):
    raise RuntimeError
  with w.claim(tmp_path):
    pass


def test_a_trained_stage_outlives_the_run_that_needed_it_and_is_refused(tmp_path):
  workdir = tmp_path / "run"
  trained = workdir / "stages" / "dense" / "checkpoints" / "4"

  def refused():
    trained.mkdir(parents=True)
    (workdir / "stages" / "dense" / "config.json").write_text("{}")
    w.write_config(workdir, CONFIG)
    raise BadInput("typo")

  with pytest.raises(BadInput, match="typo"), w.claim(workdir):
    refused()
  assert trained.is_dir()
  assert (workdir / "stages" / "dense" / "config.json").exists()
  assert w.read_config(workdir) is None  # another config may have the workdir


def test_what_cannot_be_a_workdir_is_refused(tmp_path):
  (tmp_path / "file").write_text("kept")
  for path in (tmp_path / "file", tmp_path / "file" / "inside", "/proc/nowhere"):
    with pytest.raises(BadInput, match="cannot be written"), w.claim(path):
      pass
  assert (tmp_path / "file").read_text() == "kept"


def test_directory_without_permission_is_refused(tmp_path):
  tmp_path.chmod(0o555)
  command = [sys.executable, "-c", WITHOUT_PERMISSION, tmp_path]
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.stdout == "the workdir . cannot be written: permission denied\n", done.stderr
  assert list(tmp_path.iterdir()) == []


def test_config_round_trip_and_free_fields(tmp_path):
  w.check_config(tmp_path, CONFIG, IDENTITY)
  assert list(tmp_path.iterdir()) == []
  w.write_config(tmp_path, CONFIG)
  free = {**CONFIG, "job": "evaluate", "data": {"name": "digits", "workers": 0}, "new": 1}
  w.check_config(tmp_path, free, IDENTITY)
  w.write_config(tmp_path, free)
  assert w.read_config(tmp_path) == json.loads(json.dumps(free))
  assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_identity_fields_that_differ_are_shown(tmp_path):
  w.write_config(tmp_path, CONFIG)
  before = (tmp_path / "config.json").read_bytes()
  other = {**CONFIG, "model": {"width": 384, "depth": 2}, "seed": 1}
  with pytest.raises(BadInput) as raised:
    w.check_config(tmp_path, other, IDENTITY)
  message = str(raised.value)
  assert "\n" not in message
  for part in (
    "model.width was 192, is now 384",
    "model.patch was [4, 4], is now absent",
    "model.depth was absent, is now 2",
    "seed was 0, is now 1",
    f"take another workdir, init_from='{tmp_path}' begins there from these weights",
  ):
    assert part in message
  assert (tmp_path / "config.json").read_bytes() == before


def test_at_most_five_differences_are_shown(tmp_path):
  w.write_config(tmp_path, {"model": {f"f{i}": 0 for i in range(8)}})
  with pytest.raises(BadInput, match=r"f4 was 0, is now 1 and 3 more; take"):
    w.check_config(tmp_path, {"model": {f"f{i}": 1 for i in range(8)}}, IDENTITY)


def test_a_prefix_is_a_whole_word(tmp_path):
  w.write_config(tmp_path, {"models": 1, "seeds": 1})
  w.check_config(tmp_path, {"models": 2, "seeds": 2}, IDENTITY)


def test_equal_values_of_other_types_are_the_same(tmp_path):
  w.write_config(tmp_path, {"model": {"rate": 1, "grid": (2, 2), "x": float("nan")}})
  w.check_config(tmp_path, {"model": {"rate": 1.0, "grid": [2, 2], "x": float("nan")}}, IDENTITY)


def test_what_json_cannot_hold_is_named(tmp_path):
  with pytest.raises(BadInput, match=r"model\.act is a function"):
    w.write_config(tmp_path, {"model": {"act": lambda x: x}})
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_damaged_config_is_refused(tmp_path, text):
  (tmp_path / "config.json").write_text(text)
  with pytest.raises(BadInput, match=r"config\.json is damaged"):
    w.check_config(tmp_path, CONFIG, IDENTITY)


def test_a_config_has_the_number_of_its_format(tmp_path):
  w.write_config(tmp_path, CONFIG)
  path = tmp_path / "config.json"
  stored = json.loads(path.read_text())
  assert stored.pop("format") == w.FORMAT
  assert w.read_config(tmp_path) == stored
  # Without a number it is of before there were any.
  for number in ({}, {"format": 1}, {"format": w.FORMAT + 1}):
    path.write_text(json.dumps({**stored, **number}))
    with pytest.raises(BadInput, match=rf"is of format \d, this maskjax reads format {w.FORMAT}"):
      w.read_config(tmp_path)
