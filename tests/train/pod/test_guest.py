"""Processes that somebody else made of jax: who is the first, how they meet, what they may end."""

import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import threading
import types

import jax
import numpy as np
import pytest

from maskjax import cli
from maskjax.bench.soak import free_port
from maskjax.errors import BadInput
from maskjax.train import run
from maskjax.train.pod import find, member, signals

BESIDE = pathlib.Path(__file__)
run_tests = runpy.run_path(str(BESIDE.parents[1] / "test_run.py"))


class Service:
  """The key-value store of jax's service, as its clients see it."""

  def __init__(self):
    self.held, self.change, self.slow = {}, threading.Condition(), 0

  def key_value_set(self, key, value, allow_overwrite=False):
    with self.change:
      assert allow_overwrite or key not in self.held  # jax's own refuses too
      self.held[key] = value
      self.change.notify_all()

  def blocking_key_value_get(self, key, milliseconds):
    with self.change:
      if self.slow:
        self.slow -= 1
        raise jax.errors.JaxRuntimeError(f"DEADLINE_EXCEEDED: {key} after {milliseconds} ms")
      assert self.change.wait_for(lambda: key in self.held, 60)
      return self.held[key]

  def key_value_try_get(self, key):
    if key not in self.held:
      raise jax.errors.JaxRuntimeError(f"NOT_FOUND: {key}")
    return self.held[key]

  def key_value_delete(self, key):
    with self.change:
      self.held.pop(key, None)


@pytest.fixture
def initialised(monkeypatch):
  """`initialised(index, count)`: as after somebody's `jax.distributed.initialize`."""

  def call(index, count, knows=None):
    state = types.SimpleNamespace(
      client=Service(), process_id=index, num_processes=count, preemption_sync_manager=None
    )
    monkeypatch.setattr(member, "distributed", types.SimpleNamespace(global_state=state))
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_index", lambda: index)
    monkeypatch.setattr(jax, "process_count", lambda: count if knows is None else knows)
    monkeypatch.setattr(find, "find", lambda given: pytest.fail("a cluster was asked"))
    return state

  return call


@pytest.mark.parametrize(("index", "count", "first"), [(0, 3, True), (1, 3, False), (0, 1, True)])
def test_the_first_is_the_one_that_jax_says_is_process_0(initialised, index, count, first):
  initialised(index, count)
  me = member.me()
  assert (me.index, me.count, me.first, me.ours) == (index, count, first, False)
  assert member.me() is me
  member.check()


def test_everybody_brings_something_and_gets_what_all_brought():
  service, found = Service(), {}

  def work(index):
    me = member.Member(index, 4, service)
    found[index] = [
      me.barrier("the workdir", {"of": index}),
      me.barrier("the end"),
      me.barrier("it", index),
    ]

  threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(60)
  expected = [[{"of": index} for index in range(4)], [None] * 4, [0, 1, 2, 3]]
  assert found == dict.fromkeys(range(4), expected)
  assert list(service.held) == ["maskjax/3"]  # no more than the last is kept


def test_who_waits_says_for_whom_and_goes_on(caplog):
  service = Service()
  service.slow, service.held = 2, {"maskjax/1": "[1, 2]"}
  assert member.Member(1, 2, service).barrier("the workdir", 2) == [1, 2]
  assert caplog.messages == ["waiting for process 0 at the workdir (1)"] * 2


def test_all_leave_at_the_sync_point_of_jax_and_a_later_run_does_not(monkeypatch, initialised):
  state, asked = initialised(1, 2), []
  monkeypatch.setattr(
    member.multihost_utils, "reached_preemption_sync_point", lambda p: asked.append(p) or p == 3
  )
  with signals.asked_to_stop() as stop:
    assert not stop.here()
    assert not asked  # the service is off
    state.preemption_sync_manager = object()
    assert [stop.here() for _ in range(4)] == [False, False, True, True]
    assert stop.reason == "SIGTERM at one of the processes"
  with signals.asked_to_stop() as stop:
    assert not stop.here()
  assert asked == [1, 2, 3, 4]


def test_one_process_alone_hears_of_jax_too_beside_the_main_thread(monkeypatch, initialised):
  """As an actor of Ray that is left over: jax has taken SIGTERM away from Python."""
  state, found = initialised(0, 1), []
  state.preemption_sync_manager = object()
  monkeypatch.setattr(member.multihost_utils, "reached_preemption_sync_point", lambda p: True)

  def work():
    for _ in range(2):
      with signals.asked_to_stop() as stop:
        found.append((bool(stop), stop.here(), stop.reason))
      state.preemption_sync_manager = None

  thread = threading.Thread(target=work)
  thread.start()
  thread.join(60)
  assert found == [(False, True, member.FALLBACK), (False, False, "")]
  assert member.me().barrier("the workdir", 3) == [3]


def test_a_parents_word_stops_all_by_a_signal_and_says_who(monkeypatch, initialised):
  state, sent, killed = initialised(1, 2), [], []
  me = member.Member(1, 2, state.client, types.SimpleNamespace(send=sent.append))
  monkeypatch.setattr(os, "kill", lambda *given: killed.append(given))
  monkeypatch.setattr(os, "_exit", sys.exit)
  with pytest.raises(SystemExit, match="75"):  # nothing is lost
    me._stop("SIGINT")
  assert (sent[0]["line"].partition(" (")[0], sent[0]["together"]) == ("SIGINT at process 1", False)
  state.preemption_sync_manager = object()
  monkeypatch.setattr(member.multihost_utils, "reached_preemption_sync_point", lambda p: killed)
  with me.saving():
    assert not me.leave()
    me._stop("SIGINT")
    assert killed == [(os.getpid(), signal.SIGTERM)]
    assert me.leave()
    assert me.reason.startswith("SIGINT at process 1 (")
    me.end(75, "saved", said=True)
    assert sent[-1]["together"]
    me.end(1, "KeyError", said=False)
    assert not sent[-1]["together"]


WORDS = ["launch.py", "--config=mae.py", "--workdir=w"]


def test_the_command_line_leaves_such_a_process_alone(initialised, monkeypatch, capsys):
  initialised(1, 2)
  for name in ("execv", "_exit"):
    monkeypatch.setattr(os, name, lambda *given: pytest.fail("the process was taken away"))
  monkeypatch.setattr(jax.distributed, "shutdown", lambda: pytest.fail("jax was shut down"))
  monkeypatch.setattr(cli, "command", lambda *given: "done")
  assert cli.main(WORDS) == 0
  monkeypatch.setattr(cli, "command", lambda *given: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    cli.main(WORDS)
  assert cli.main([*WORDS, "--process_id=3"]) == 2
  said = "error: --process_id given, but jax is initialised already, as process 1 of 2: leave"
  assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize("name", run.JOBS)
def test_no_job_begins_where_each_process_would_be_the_first(
  initialised, monkeypatch, tmp_path, name
):
  initialised(0, 2, knows=1)  # of a backend that knows nothing of the service
  with pytest.raises(BadInput, match=r"jax has devices of 1 process\(es\), .* service is of 2"):
    run.JOBS[name]({}, tmp_path / "w")
  initialised(0, 1, knows=4)  # of TPUs, which know of each other
  with pytest.raises(BadInput, match=r"jax has devices of 4 process\(es\)"):
    run.JOBS[name]({}, tmp_path / "w")
  monkeypatch.undo()
  # As in a process that no command line has run in before.
  monkeypatch.setattr(member, "_alone", False)
  monkeypatch.setenv("SLURM_NTASKS", "4")
  monkeypatch.setenv("SLURM_PROCID", "0")
  with pytest.raises(BadInput, match="SLURM_NTASKS=4 and SLURM_PROCID=0 speak of several"):
    run.JOBS[name]({}, tmp_path / "w")
  assert not (tmp_path / "w").exists()
  monkeypatch.setenv("JAX_NUM_PROCESSES", "1")
  with pytest.raises(BadInput, match="the config needs a field"):
    run.JOBS[name]({}, tmp_path / "w")


# What somebody writes who knows jax, and nothing of our processes: a sweep, with a signal in the
# last step of its first point, and again; the second point ends itself after an evaluation.
SCRIPT = """
import json, os, pathlib, signal, sys, time
import jax
folder, coordinator, index = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
jax.distributed.initialize(coordinator, 2, index)
import maskjax as mj
from ml_collections import ConfigDict
from maskjax.errors import Restart
from maskjax.train import loop
from maskjax.train.pod.member import me
from maskjax.train.sweeps import points, run
sys.path.append(os.environ["BESIDE"])
config = json.loads((folder / "config.json").read_text())
step, count = loop.Run._step, 0
def stepping(self, *args, **kwargs):
  global count
  count += 1
  out = step(self, *args, **kwargs)
  if count == 4:  # of the first point
    if index == 1:
      os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(3)  # jax looks for a signal once a second
  return out
loop.Run._step = stepping
knn = {"fn": "train.evaluators.knn", "k": 3, "test": "train", "every": 2}
of_points = ({"ema": 0.0}, {"ema": 0.5, "total_steps": 50, "evals": {"knn": knn}})
swept = [points.Point(i, "toy", c, ConfigDict({**config, **c})) for i, c in enumerate(of_points)]
asked = lambda step, metrics: index == 0 and "eval/knn/accuracy" in metrics and step >= 2
run.train = lambda config, folder: mj.train(config, folder, on_eval=asked)
for _ in range(2):
  try:
    said = run.run(swept, str(folder / "sweep"))
    print("done:", me().first, bool(said), flush=True)
  except Restart as stopped:
    print("stopped:", stopped, flush=True)
"""


def test_two_processes_of_somebody_elses(tmp_path):
  images = np.random.default_rng(0).integers(256, size=(40, 8, 8, 1), dtype=np.uint8)
  np.savez(tmp_path / "images.npz", train_images=images, train_labels=np.arange(40))
  of_graph = ("over", "model", "score", "select", "hide", "target", "losses")
  tiny = {name: value for name, value in run_tests["TINY"].items() if name not in of_graph}
  changes = {"data.path": str(tmp_path / "images.npz"), "data.test": "", "total_steps": 4}
  changes |= {"task.fn": "smallest:linear", "checkpoint.every": 100, "batch_size": 8, "evals": {}}
  config = run_tests["merged"](tiny, {**changes, "mesh": {"preset": "data", "least": 8}})
  (tmp_path / "config.json").write_text(json.dumps(config))
  coordinator = f"127.0.0.1:{free_port()}"
  processes = [
    subprocess.Popen(
      [sys.executable, "-c", SCRIPT, str(tmp_path), coordinator, str(index)],
      env={**os.environ, "BESIDE": str(BESIDE.parent), "XLA_FLAGS": ""},
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for index in range(2)
  ]
  try:
    said = [process.communicate(timeout=300) for process in processes]
  finally:
    for process in processes:
      process.kill()
  ends = [process.returncode for process in processes]
  assert ends == [0, 0], "".join(err[-3000:] for _, err in said)
  lines = [[x for x in out.splitlines() if x.startswith(("done", "stopped"))] for out, _ in said]
  stop = f"stopped: {member.FALLBACK} before point 1: the same command goes on from there"
  assert lines == [[stop, "done: True True"], [stop, "done: False False"]]
  rows = json.loads((tmp_path / "sweep" / "results.json").read_text())
  assert [(row["overrides"]["ema"], row["step"]) for row in rows] == [(0.0, 4), (0.5, 2)]
  one, two = sorted((tmp_path / "sweep").glob("*-*"))
  assert [row["step"] for row in run_tests["rows"](one) if "train/loss" in row] == [1, 2, 3, 4]
  assert [run_tests["final"](folder)["step"] for folder in (one, two)] == [bytes([4]), bytes([2])]
