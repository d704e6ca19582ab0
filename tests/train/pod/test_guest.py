"""Processes that somebody else made of jax: who is the first, how they meet, what they may end."""

import os
import signal
import sys
import threading
import types

import jax
import pytest

from maskjax import cli
from maskjax.errors import BadInput
from maskjax.train import run
from maskjax.train.pod import find, member, signals


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
