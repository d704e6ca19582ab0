"""Traces on request, and runs that stop at NaNs."""

import pathlib
import runpy

import jax
import pytest

from maskjax.train.profiler import Profiler
from maskjax.train.run import train

tiny = runpy.run_path(str(pathlib.Path(__file__).with_name("test_run.py")))["tiny"]


@pytest.fixture
def calls(monkeypatch):
  """What is asked of jax's profiler, in order."""
  seen = []
  monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: seen.append(f"start {folder}"))
  monkeypatch.setattr(jax.profiler, "stop_trace", lambda: seen.append("stop"))
  return seen


@pytest.mark.parametrize(
  ("first", "steps", "expected"),
  [
    (2, 0, [1, 2, 3, 4, 5]),
    (2, 2, [1, "start f", 2, 3, "stop", 4, 5]),
    (4, 9, [1, 2, 3, "start f", 4, 5, "stop"]),  # still open at the end
    (9, 1, [1, 2, 3, 4, 5]),
  ],
)
def test_a_trace_covers_the_steps_asked_for(calls, first, steps, expected):
  with Profiler(pathlib.Path("f"), first=first, steps=steps) as profiler:
    for step in range(1, 6):
      with profiler.step(step):
        calls.append(step)
  assert calls == expected


def test_a_run_writes_its_trace(tiny, tmp_path):
  config = tiny.config({"profile.first": 2, "profile.steps": 1}, total_steps=2)
  train(config, tmp_path)
  assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_debugging_compiles_nothing_and_looks_for_nans(tiny, tmp_path):
  small = {"batch_size": 2, "total_steps": 2, "data.augment": None}
  small["optimizer"] = {"fn": "sgd", "learning_rate": 0.1, "schedule": "constant"}
  train(tiny.config(small, debug=True), tmp_path)
  assert [row["step"] for row in tiny.rows(tmp_path)] == [1, 2]
  assert not jax.config.jax_debug_nans
  assert not jax.config.jax_disable_jit
