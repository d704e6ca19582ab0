"""Simulated devices get threads enough, and say what they got."""

import logging
import os
from types import SimpleNamespace

import pytest

from maskjax.train.pod import threads

FLAG = "--xla_force_host_platform_device_count="


@pytest.fixture
def process(monkeypatch, caplog):
  """`process(flags, option, platforms, **variables)`: what a process that begins so is given."""
  monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)

  def begin(flags="", option=-1, platforms="cpu", **variables):
    caplog.clear()
    caplog.set_level(logging.INFO, "maskjax")
    # First set, then deleted: what `enough` writes is undone as well.
    for name in threads.VARIABLES:
      monkeypatch.setenv(name, "")
      monkeypatch.delenv(name)
    for name, value in {"XLA_FLAGS": flags, **variables}.items():
      monkeypatch.setenv(name, value)
    config = SimpleNamespace(jax_num_cpu_devices=option, jax_platforms=platforms)
    monkeypatch.setattr(threads, "jax", SimpleNamespace(config=config))
    threads.enough()
    return {name: os.environ[name] for name in threads.VARIABLES if name in os.environ}

  return begin


@pytest.mark.parametrize(
  ("flags", "option", "count"),
  [(f"{FLAG}8", -1, 8), (f"{FLAG}8 --xla_x=1 {FLAG}3", -1, 3), ("", 4, 4), (f"{FLAG}8", 2, 2)],
)
def test_simulated_devices_get_two_threads_each_and_it_is_said_once(
  process, caplog, flags, option, count
):
  assert process(flags, option) == {"PJRT_NPROC": str(2 * count)}
  (line,) = caplog.messages
  assert line == f"{count} devices simulated with {2 * count} threads: PJRT_NPROC"
  threads.enough()
  assert len(caplog.messages) == 1


def test_there_are_no_fewer_threads_than_cores(process, monkeypatch):
  monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
  monkeypatch.setattr(os, "cpu_count", lambda: 64)
  assert threads.needed(8) == 64


@pytest.mark.parametrize("name", threads.VARIABLES)
def test_what_the_user_said_stands(process, caplog, name):
  assert process(f"{FLAG}8", **{name: "3"}) == {name: "3"}
  assert caplog.messages == []
  assert f"({name}=3)" in threads.hint()


@pytest.mark.parametrize(
  ("flags", "platforms"), [("", "cpu"), (f"{FLAG}1", "cpu"), (f"{FLAG}8", "cuda"), ("", None)]
)
def test_where_nothing_is_simulated_nothing_is_set(process, caplog, flags, platforms):
  assert process(flags, platforms=platforms) == {}
  assert caplog.messages == []
  assert threads.hint() == ""


def test_the_hint_says_what_to_start_with(process):
  process(f"{FLAG}8", platforms=None)
  assert "8 simulated devices" in threads.hint()
  assert "(PJRT_NPROC=16)" in threads.hint()
  assert threads.hint().endswith("with PJRT_NPROC=16 or more")
