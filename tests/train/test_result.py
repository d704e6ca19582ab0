"""What `mj.train` returns, and a run that its caller ends."""

import pathlib
import re
import runpy
import sys
import types

import jax
import numpy as np
import pytest

import maskjax as mj
from maskjax import lab
from maskjax.train import loop, result
from maskjax.train.log.summary import read_metrics, seconds

toy = runpy.run_path(str(pathlib.Path(__file__).parent / "test_run.py"))["toy"]
# Evaluated where no checkpoint is due.
KNN = {"evals.knn": {"fn": "train.evaluators.knn", "k": 3, "every": 3}, "seeds": 2}


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
  """The workdir and the result of a run that nobody ended."""
  workdir = tmp_path_factory.mktemp("whole")
  return workdir, mj.train(toy.config(KNN), workdir)


def test_the_first_step_is_made_before_step_0_is_evaluated_where_both_states_have_room(
  toy, whole, tmp_path, monkeypatch
):
  done, seen, step, evaluated = [], [], loop.Run._step, loop.evaluate

  def evaluate(context, *rest):
    done.append(context.step)
    # The first step of a warm-up moves no weights, but the optimizer's state.
    state = jax.tree.leaves((context.variables, context.opt_state))
    seen.append([np.asarray(x).tobytes() for x in state])
    return evaluated(context, *rest)

  stepped = lambda *args, **more: done.append("step") or step(*args, **more)
  monkeypatch.setattr(loop, "evaluate", evaluate)
  monkeypatch.setattr(loop.Run, "_step", stepped)
  for name, light, first in (("light", 1 << 28, ["step", 0]), ("large", 0, [0, "step"])):
    del done[:]
    monkeypatch.setattr(loop, "LIGHT", light)
    mj.train(toy.config(KNN, seeds=1), tmp_path / name)
    assert done[:2] == first
    assert [at for at in done if at != "step"] == [0, 3, 6]
    assert toy.rows(tmp_path / name) == toy.rows(whole[0])
    assert toy.final(tmp_path / name) == toy.final(whole[0])
  assert seen[:3] == seen[3:]
  assert seen[0] != seen[1]


@pytest.mark.parametrize(("count", "on_eval", "total"), [(2, None, 9), (1, max, 9), (1, None, 0)])
def test_no_state_is_kept_of_several_processes_nor_where_no_step_may_follow(
  monkeypatch, count, on_eval, total
):
  monkeypatch.setattr(loop, "me", lambda: types.SimpleNamespace(count=count))
  parts = types.SimpleNamespace(total_steps=total)
  run = loop.Run(parts, None, 0, None, None, None, None, None, on_eval)
  assert run._kept({"w": jax.device_put(np.ones(2))}, 1) is None


def test_a_result_says_where_how_far_and_what(whole):
  workdir, found = whole
  last = [read_metrics(workdir / seed / "metrics.jsonl")[6] for seed in ("", "seeds/1")]
  assert (found.workdir, found.step, found.stopped) == (str(workdir), 6, False)
  assert found.seeds == dict(enumerate(last))
  name = "eval/knn/accuracy"
  assert found.metrics[name] == sum(row[name] for row in last) / 2
  assert found.metrics["train/loss"] != last[0]["train/loss"]
  assert found.parameters == 40 + 72 + 36  # of three dense layers
  assert "trained, step 6" in found.table
  assert str(found) == f"{found.table}\n\n{found.commands}"


@pytest.mark.parametrize("end", [0, 3])
def test_who_is_asked_after_each_evaluation_may_end_the_run(toy, whole, tmp_path, end):
  asked = []

  def on_eval(step, scalars):
    asked.append((step, scalars["eval/knn/accuracy"]))
    return step == end

  found = mj.train(toy.config(KNN), tmp_path, on_eval=on_eval)
  rows = read_metrics(tmp_path / "metrics.jsonl")
  assert asked == [(s, rows[s]["eval/knn/accuracy"]) for s in (0, 3, 6) if s <= end]
  assert (found.step, found.stopped, list(found.seeds)) == (end, True, [0])
  assert toy.final(tmp_path)["step"] == bytes([end])
  assert not (tmp_path / "seeds").exists()
  before = seconds(rows)
  assert mj.train(toy.config(KNN), tmp_path, on_eval=lambda *_: None).step == 6
  for seed in ("", "seeds/1"):
    assert toy.final(tmp_path / seed) == toy.final(whole[0] / seed)
    assert toy.rows(tmp_path / seed) == toy.rows(whole[0] / seed)
  # Seconds are of both launches together.
  for row in list(read_metrics(tmp_path / "metrics.jsonl").values())[end + 1 :]:
    assert row["perf/seconds/train"] > before.get("train", 0)


@pytest.mark.parametrize("answers", [[True, False], [False, True]])
def test_all_processes_end_where_the_first_is_told_to(monkeypatch, answers):
  for index in range(2):
    brought = []
    member = types.SimpleNamespace(
      first=index == 0,
      barrier=lambda name, value, brought=brought: brought.append(value) or [answers[0], False],
    )
    monkeypatch.setattr(result, "me", lambda member=member: member)
    asked = lambda step, scalars, index=index: answers[index]
    assert result.ends(asked, 3, {}) is answers[0]
    assert brought == [index == 0 and answers[0]]  # the second is not asked
    assert not result.ends(None, 3, {})


class Optuna(types.ModuleType):
  """As much of Optuna as the page uses; it prunes what is reported to be worse than a bound."""

  class TrialPruned(Exception):  # noqa: N818
    """As theirs."""

  def __init__(self, values, bound):
    super().__init__("optuna")
    self.values, self.bound, self.ends, self.number, self.reported = values, bound, [], 0, []

  def create_study(self, direction):
    assert direction == "maximize"
    return self

  def optimize(self, objective, n_trials):
    for number in range(min(n_trials, len(self.values))):
      self.number = number
      try:
        self.ends.append(objective(self))
      except self.TrialPruned:
        self.ends.append("pruned")

  def suggest_float(self, name, low, high, log):
    return self.values[self.number]

  def report(self, value, step):
    self.reported.append((self.number, step, value))

  def should_prune(self):
    return self.number == self.bound and self.reported[-1][1] == 3


def test_optuna_as_the_page_has_it(toy, tmp_path, monkeypatch):
  page = (pathlib.Path(mj.__file__).parent / "train" / "README.md").read_text(encoding="utf-8")
  (text,) = re.findall(r"```python\n(import optuna.*?)```", page, re.S)
  read, seen = lab.read, []

  def least(place):
    seen.append(read(place))
    return toy.config({**KNN, "seeds": 1})

  optuna = Optuna([0.01, 0.02], bound=1)
  monkeypatch.setitem(sys.modules, "optuna", optuna)
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(lab, "read", least)
  exec(text, {"mj": mj, "lab": lab})
  assert [config.optimizer.learning_rate for config in seen] == [0.01, 0.02]
  assert {(config.seeds, config.evals.knn.every) for config in seen} == {(1, 200)}
  assert [(number, step) for number, step, _ in optuna.reported] == [
    (0, 0), (0, 3), (0, 6), (1, 0), (1, 3),
  ]  # fmt: skip
  assert optuna.ends == [optuna.reported[2][2], "pruned"]
  assert toy.final(tmp_path / "runs" / "rate" / "1")["step"] == bytes([3])
