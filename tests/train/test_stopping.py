"""Runs that a rule of their config ends, and what the rule says of given evaluations."""

import pathlib
import runpy

import pytest

import maskjax as mj
from maskjax.errors import BadInput
from maskjax.train import stopping
from maskjax.train.log.summary import read_metrics

toy = runpy.run_path(str(pathlib.Path(__file__).parent / "test_run.py"))["toy"]
KNN = {"evals.knn": {"fn": "train.evaluators.knn", "k": 3, "every": 2}, "seeds": 2}
RULE = {"fn": "train.stopping.exceeds", "metric": "eval/knn/accuracy", "than": "eval/bar/accuracy"}
# The bar is another evaluator, which is below whatever the first is after a mean of two.
LOW = {"evals.bar": {"fn": "stopping_bar:bar", "every": 2}}


@pytest.fixture
def ruled(toy, tmp_path, monkeypatch):
  """A config of two seeds whose rule is met at the second evaluation after step 0."""
  (tmp_path / "stopping_bar.py").write_text("def bar(context):\n  return {'accuracy': -1.0}\n")
  monkeypatch.syspath_prepend(str(tmp_path))
  return toy.config(KNN | LOW, until={**RULE, "mean_of": 2})


def test_each_seed_ends_at_the_rule_and_is_not_trained_on(toy, ruled, tmp_path):
  found = mj.train(ruled, tmp_path / "run")
  assert (found.step, found.stopped, list(found.seeds)) == (4, True, [0, 1])
  for seed in ("", "seeds/1"):
    assert toy.final(tmp_path / "run" / seed)["step"] == bytes([4])
    assert max(read_metrics(tmp_path / "run" / seed / "metrics.jsonl")) == 4
  before = toy.files(tmp_path / "run/checkpoints")
  again = mj.train(ruled, tmp_path / "run")
  assert (again.step, list(again.seeds)) == (4, [0, 1])
  assert toy.files(tmp_path / "run/checkpoints") == before
  # Without the rule it goes on to its end.
  assert mj.train({**ruled, "until": None}, tmp_path / "run").step == 6


def test_who_else_is_asked_ends_the_run_too_and_no_seed_follows(ruled, tmp_path):
  found = mj.train(ruled, tmp_path / "run", on_eval=lambda step, _: step == 2)
  assert (found.step, list(found.seeds)) == (2, [0])


def rows(*pairs):
  """Evaluations of steps 0, 10, 20, … of two metrics."""
  return {10 * i: {"a": a, "b": b, "train/loss": 1.0} for i, (a, b) in enumerate(pairs)}


@pytest.mark.parametrize(
  ("pairs", "mean_of", "wanted"),
  [
    ([(9, 0)], 1, False),  # before training nothing counts
    ([(9, 0), (1, 1)], 1, False),  # equal is not above
    ([(0, 0), (2, 1)], 1, True),
    ([(9, 0), (9, 0), (9, 0)], 3, False),  # two evaluations are not three
    ([(0, 0), (1, 0), (3, 0), (2, 1.9)], 3, True),
    ([(0, 0), (1, 0), (3, 0), (2, 2.0)], 3, False),  # the mean, beside the other one by now
    ([(0, 0), (9, 0), (0, 0), (0, 0), (0, 0)], 3, False),  # the last three, not the best
  ],
)
def test_the_mean_of_the_last_evaluations_is_compared(pairs, mean_of, wanted):
  assert stopping.exceeds(rows(*pairs), metric="a", than="b", mean_of=mean_of) is wanted


def test_rows_without_the_metric_are_passed_over():
  logged = {**rows((0, 0), (2, 1)), 15: {"train/loss": 0.5}}
  assert stopping.exceeds(logged, metric="a", than="b")


@pytest.mark.parametrize(
  ("changes", "told"),
  [
    ({"fn": "train.stopping.exceed"}, "exceeds"),
    ({"metrics": "a"}, "metric"),
    ({"mean_of": 0}, "mean_of is at least 1"),
    ({"metric": "eval/knn/accurracy"}, "eval/knn/accuracy"),
  ],
)
def test_a_rule_that_cannot_work_is_refused(toy, ruled, tmp_path, changes, told):
  with pytest.raises(BadInput, match=told):
    mj.train({**ruled, "until": {**ruled["until"], **changes}}, tmp_path / "run")


def test_a_rule_without_evaluations_is_refused(toy, tmp_path):
  with pytest.raises(BadInput, match="until is asked after evaluations"):
    mj.train(toy.config(KNN, until=dict(RULE), evals={}), tmp_path / "run")
