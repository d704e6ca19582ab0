"""Traces on request, and runs that stop at NaNs."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

from maskjax.reduce import Term
from maskjax.task.base import Aux, Task, total
from maskjax.train import loop
from maskjax.train.log.profiler import Profiler
from maskjax.train.run import train
from maskjax.train.setup import build
from maskjax.train.setup.build import make_parts

tiny = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "test_run.py"))["tiny"]


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


def line(config, record):
  """A task of few operations, each of which compiles apart where nothing else is compiled."""

  def loss(variables, batch, key, step):
    x = batch["image"].mean((1, 2, 3))
    gap = x * variables["params"]["slope"] - batch["label"]
    return {"gap": Term(jnp.sum(gap**2), jnp.float32(len(x)))}, Aux()

  return Task(init=lambda key, batch: {"params": {"slope": jnp.zeros(())}}, loss=loss)


def test_a_run_writes_its_trace(tiny, tmp_path, monkeypatch):
  monkeypatch.setattr(build, "make_task", line)
  config = tiny.config({"profile.first": 2, "profile.steps": 1}, total_steps=2)
  train(config, tmp_path)
  assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_debugging_compiles_nothing_and_stops_at_the_first_nan(tiny, tmp_path, monkeypatch):
  true, found = loop.pipeline.batches, []

  def batches(*args, **kwargs):
    for i, batch in enumerate(true(*args, **kwargs), start=1):
      found.append((jax.config.jax_disable_jit, jax.config.jax_debug_nans))
      yield {**batch, "image": batch["image"] * np.float32(np.nan if i == 3 else 1)}

  monkeypatch.setattr(build, "make_task", line)
  monkeypatch.setattr(loop.pipeline, "batches", batches)
  small = {"total_steps": 3, "data.augment": None, "checkpoint.every": 0}
  small["optimizer"] = {"fn": "sgd", "learning_rate": 0.1, "schedule": "constant"}
  with pytest.raises(FloatingPointError, match="nan"):
    train(tiny.config(small, debug=True), tmp_path)
  assert [row["step"] for row in tiny.rows(tmp_path)] == [1, 2]
  assert set(found) == {(True, True)}
  assert not jax.config.jax_debug_nans
  assert not jax.config.jax_disable_jit


def test_no_value_on_the_way_to_a_gradient_is_nan(tiny):
  """Else debugging would stop a run in which nothing is wrong."""
  parts = make_parts(tiny.config())
  rng = np.random.default_rng(0)
  draw = lambda leaf: rng.normal(size=leaf.shape).astype(np.float32)
  variables = jax.tree.map(draw, parts.state.variables)
  batch = next(loop.pipeline.batches(parts.data, batch_size=2, seed=0))

  def loss(params, rest, batch):
    terms, _ = parts.task.loss({**rest, "params": params}, batch, jax.random.key(0), 0)
    return total(terms, parts.task.weights)

  step = checkify.checkify(jax.value_and_grad(loss), errors=checkify.nan_checks)
  error, (value, _) = jax.jit(step)(variables["params"], variables, batch)
  error.throw()
  assert value > 0
