"""Runs that die and go on end as if nothing had happened: equal bits, equal rows."""

import json
import logging
import os
import pathlib
import runpy
import signal
import subprocess
import sys

import pytest

from maskjax.errors import BadInput
from maskjax.train import loop
from maskjax.train.run import train
from maskjax.train.workdirs.workdir import claim

tiny = runpy.run_path(str(pathlib.Path(__file__).with_name("test_run.py")))["toy"]

# Ten steps of 16 on 40 examples: every third batch straddles two epochs.
EVERYTHING = {"total_steps": 10, "ema": 0.9, "accumulate": 2, "checkpoint.every": 3}
EVALUATED = {"evals": {"knn": {"fn": "train.evaluators.knn", "k": 3, "every": 4, "pixels": True}}}

KILLED = """
import json, os, signal, sys
from maskjax.train import loop
from maskjax.train.run import train
config, workdir, last = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
true = loop.Run._milestone
def milestone(self, state, step, *rest):
  true(self, state, step, *rest)
  if step == last:
    os.kill(os.getpid(), signal.SIGKILL)
loop.Run._milestone = milestone
train(config, workdir)
"""


class UnpluggedError(Exception):
  """What no code expects."""


def dying(monkeypatch, at):
  """Makes the loop die when it asks for its `at`-th batch; at 0, nothing happens."""
  true = loop.pipeline.batches

  def batches(*args, **kwargs):
    for i, batch in enumerate(true(*args, **kwargs), start=1):
      if i == at:
        raise UnpluggedError
      yield batch

  monkeypatch.setattr(loop.pipeline, "batches", batches)


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
  """The config that has everything on, and the workdir of a run that nothing interrupted."""
  config = tiny.config(EVERYTHING, **EVALUATED)
  workdir = tmp_path_factory.mktemp("whole")
  train(config, workdir)
  return config, workdir


def test_a_run_that_dies_again_and_again_ends_bitwise_equal(tiny, whole, tmp_path, monkeypatch):
  config, reference = whole
  # Before any checkpoint, right after one, between two, twice at the same place, in the last step.
  for batch in (1, 3, 5, 2, 4):
    with monkeypatch.context() as patch:
      dying(patch, batch)
      with pytest.raises(UnpluggedError):
        train(config, tmp_path)
  train(config, tmp_path)
  assert tiny.final(tmp_path) == tiny.final(reference)
  assert tiny.rows(tmp_path) == tiny.rows(reference)


def test_a_killed_process_ends_bitwise_equal(tiny, whole, tmp_path):
  config, reference = whole
  # While a checkpoint is being written.
  command = [sys.executable, "-c", KILLED, json.dumps(config), str(tmp_path), "9"]
  assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
  assert max(row["step"] for row in tiny.rows(tmp_path)) == 9
  train(config, tmp_path)
  assert tiny.final(tmp_path) == tiny.final(reference)
  assert tiny.rows(tmp_path) == tiny.rows(reference)


def test_a_run_that_dies_in_its_last_evaluation_keeps_its_end(tiny, whole, tmp_path, monkeypatch):
  config, reference = whole
  with monkeypatch.context() as patch:
    true = loop.evaluate

    def evaluate(context, *rest):
      if context.step == 10:
        raise UnpluggedError
      return true(context, *rest)

    patch.setattr(loop, "evaluate", evaluate)
    with pytest.raises(UnpluggedError):
      train(config, tmp_path)
  assert tiny.final(tmp_path) == tiny.final(reference)
  dying(monkeypatch, 1)  # if it took another step
  train(config, tmp_path)
  assert tiny.rows(tmp_path) == tiny.rows(reference)


def test_a_checkpoint_holds_all_that_moves(tiny, whole):
  leaves = set(tiny.final(whole[1]))
  assert {"position", "state/key", "state/step"} <= leaves
  for part in ("variables", "opt_state", "ema"):
    assert any(name.startswith(f"state/{part}/") for name in leaves), part


def test_loader_evaluators_and_checkpoints_may_change_on_the_way(
  tiny, whole, tmp_path, monkeypatch
):
  config, reference = whole
  with monkeypatch.context() as patch:
    dying(patch, 6)
    with pytest.raises(UnpluggedError):
      train(config, tmp_path)
  changed = {"loader.threads": 1, "loader.prefetch": 1, "evals": {}, "checkpoint.every": 0}
  train(tiny.config(EVERYTHING, **changed), tmp_path)
  assert tiny.final(tmp_path) == tiny.final(reference)


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_newest_checkpoint_costs_one_warning(
  tiny, whole, tmp_path, monkeypatch, caplog, damage
):
  config, reference = whole
  with monkeypatch.context() as patch:
    dying(patch, 9)
    with pytest.raises(UnpluggedError):
      train(config, tmp_path)
  newest = max((tmp_path / "checkpoints").iterdir(), key=lambda p: int(p.name))
  # All of them: of files of equal size some hold nothing that is read.
  for victim in (p for p in (newest / "state").rglob("d/*") if p.is_file()):
    if damage == "missing":
      victim.unlink()
    else:
      os.truncate(victim, victim.stat().st_size // 2)
  caplog.clear()
  with caplog.at_level(logging.WARNING, "maskjax"):
    train(config, tmp_path)
  # The other is about the data.
  small, bad = map(logging.LogRecord.getMessage, caplog.records)
  assert small.startswith("'test' has 10 examples")
  assert f"step {newest.name} is bad" in bad
  assert tiny.final(tmp_path) == tiny.final(reference)
  assert tiny.rows(tmp_path) == tiny.rows(reference)


def test_a_rerun_of_a_finished_run_trains_nothing(tiny, whole, monkeypatch):
  config, workdir = whole
  before, rows = tiny.final(workdir), tiny.rows(workdir)
  monkeypatch.setattr(loop.Run, "train", None)  # would be called
  assert "trained, step 10" in train(config, workdir).table
  assert tiny.final(workdir) == before
  assert tiny.rows(workdir) == rows


def test_a_second_launch_is_refused_and_changes_nothing(tiny, whole):
  config, workdir = whole
  with claim(workdir):
    before = tiny.files(workdir)
    with pytest.raises(BadInput, match=f"in use by process {os.getpid()}"):
      train(config, workdir)
    assert tiny.files(workdir) == before


def test_a_longer_run_continues_a_constant_rate_exactly(tiny, whole, tmp_path):
  constant = {"optimizer.schedule": "constant"}
  train(tiny.config(constant, total_steps=4), tmp_path / "grown")
  train(tiny.config(constant, total_steps=6), tmp_path / "grown")
  train(tiny.config(constant, total_steps=6), tmp_path / "whole")
  assert tiny.final(tmp_path / "grown") == tiny.final(tmp_path / "whole")
  config, workdir = whole  # its rate is a cosine's
  with pytest.raises(BadInput, match="total_steps was 10, is now 12"):
    train({**config, "total_steps": 12}, workdir)


def test_what_was_to_be_let_go_of_goes_when_a_finished_run_is_begun_again(tiny, tmp_path):
  """A run that dies between its last checkpoint and the deletion of older ones saves no more."""
  steps = lambda: sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
  config = tiny.config(total_steps=4)
  train({**config, "checkpoint": {"every": 2, "keep": 2}}, tmp_path)
  assert steps() == ["2", "4"]
  train({**config, "checkpoint": {"every": 2, "keep": 1}}, tmp_path)
  assert steps() == ["4"]
