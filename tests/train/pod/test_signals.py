"""Being asked to stop, by the system or by Ctrl-C, at any time."""

import contextlib
import os
import pathlib
import runpy
import signal
import threading

import pytest

from maskjax.errors import Restart
from maskjax.train import loop
from maskjax.train.evaluators import evaluation
from maskjax.train.pod.signals import asked_to_stop
from maskjax.train.run import train

tiny = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "test_run.py"))["toy"]
KNN = {"evals.knn": {"fn": "train.evaluators.knn", "k": 3, "every": 4}, "ema": 0.9}


def me(number):
  os.kill(os.getpid(), number)


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
  """Config and workdir of a run that nothing stopped."""
  config, workdir = tiny.config(KNN), tmp_path_factory.mktemp("whole")
  train(config, workdir)
  return config, workdir


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted_the_second_has_its_usual_effect(number):
  got = []
  before = signal.signal(number, lambda *_: got.append("usual"))
  try:
    with asked_to_stop() as stop:
      assert not stop
      me(number)
      assert (stop.reason, got) == (number.name, [])
      me(number)
      assert got == ["usual"]
    me(number)
    assert got == ["usual", "usual"]
  finally:
    signal.signal(number, before)


def test_handlers_come_back_after_an_error_too():
  before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
  with contextlib.suppress(ZeroDivisionError), asked_to_stop():
    assert signal.getsignal(signal.SIGINT) is not before[1]
    raise ZeroDivisionError
  assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_beside_the_main_thread_signals_stay_as_they_are():
  before, inside = signal.getsignal(signal.SIGINT), []

  def work():
    with asked_to_stop() as stop:
      inside.extend([signal.getsignal(signal.SIGINT), bool(stop)])

  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert inside == [before, False]


# The first step is made before step 0 is evaluated: what is not evaluated yet is where it goes on.
@pytest.mark.parametrize(
  ("number", "batch", "saved"),
  [(signal.SIGTERM, 3, 3), (signal.SIGINT, 2, 2), (signal.SIGINT, 1, 0)],
)
def test_a_signal_saves_the_step_under_way_and_the_run_goes_on_exactly(
  tiny, whole, tmp_path, monkeypatch, number, batch, saved
):
  config, reference = whole
  true = loop.pipeline.batches

  def batches(*args, **kwargs):
    for i, one in enumerate(true(*args, **kwargs), start=1):
      if i == batch:
        me(number)
      yield one

  before = signal.getsignal(number)
  with monkeypatch.context() as patch:
    patch.setattr(loop.pipeline, "batches", batches)
    with pytest.raises(Restart, match=rf"{number.name} at step {saved}:"):
      train(config, tmp_path)
  assert signal.getsignal(number) is before
  assert tiny.final(tmp_path)["step"] == bytes([saved])
  train(config, tmp_path)
  assert tiny.final(tmp_path) == tiny.final(reference)
  assert tiny.rows(tmp_path) == tiny.rows(reference)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("step", [0, 4, 6])
def test_a_signal_ends_an_evaluation_which_the_next_launch_makes_up_for(
  tiny, whole, tmp_path, monkeypatch, step, batch
):
  config, reference = whole
  began, true, examples = [], loop.evaluate, evaluation.pipeline.examples
  seen = 0

  def evaluate(context, *rest):
    began.append(context.step)
    return true(context, *rest)

  def counted(*args, **kwargs):
    nonlocal seen
    for one in examples(*args, **kwargs):
      seen += began[-1] == step
      if (seen, began[-1]) == (batch, step):
        me(signal.SIGTERM)
      yield one

  with monkeypatch.context() as patch:
    patch.setattr(loop, "evaluate", evaluate)
    patch.setattr(evaluation.pipeline, "examples", counted)
    with pytest.raises(Restart, match=f"SIGTERM at step {step}:"):
      train(config, tmp_path)
  assert seen == batch
  assert tiny.final(tmp_path)["step"] == bytes([step])
  assert not [row for row in tiny.rows(tmp_path) if row["step"] == step and "eval" in str(row)]
  train(config, tmp_path)
  assert tiny.final(tmp_path) == tiny.final(reference)
  assert tiny.rows(tmp_path) == tiny.rows(reference)


def test_a_signal_in_the_last_step_of_a_seed_does_not_begin_the_next(tiny, tmp_path, monkeypatch):
  config = tiny.config(ema=0.9, seeds=2)
  true = loop.Run._milestone

  def milestone(self, state, step, *rest):
    if step == 6:
      me(signal.SIGTERM)
    true(self, state, step, *rest)

  with monkeypatch.context() as patch:
    patch.setattr(loop.Run, "_milestone", milestone)
    with pytest.raises(Restart, match="SIGTERM before seed 1"):
      train(config, tmp_path)
  assert tiny.final(tmp_path)["step"] == bytes([6])
  assert not (tmp_path / "seeds").exists()
  train(config, tmp_path)
  assert tiny.final(tmp_path / "seeds" / "1")["step"] == bytes([6])
