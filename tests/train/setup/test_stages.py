"""Runs that another run needs first."""

import pathlib
import runpy

import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.train import run
from maskjax.train.checkpoints.load import stored
from maskjax.train.log.summary import read_metrics
from maskjax.train.setup.stages import needed, origin

tiny = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "test_run.py"))["toy"]


def first_loss(folder):
  """The loss of the first step."""
  return read_metrics(folder / "metrics.jsonl")[1]["train/loss"]


def test_a_stage_is_trained_first_and_the_run_begins_from_it(tiny, tmp_path):
  stage = tiny.config(total_steps=4)
  config = tiny.config(stages={"dense": stage}, init_from="stages/dense", total_steps=2)
  run.run(config, tmp_path / "a")
  dense = tmp_path / "a" / "stages" / "dense"
  assert sorted(p.name for p in (dense / "checkpoints").glob("[0-9]*"))[-1] == "4"
  run.run(tiny.config(init_from=str(dense), total_steps=2), tmp_path / "b")
  for a, b in zip(*(leaves(stored(tmp_path / name)) for name in "ab"), strict=True):
    np.testing.assert_array_equal(a, b)
  run.run(tiny.config(total_steps=2), tmp_path / "scratch")
  assert first_loss(tmp_path / "a") != first_loss(tmp_path / "scratch")


def leaves(tree):
  """The arrays of nested dicts."""
  return [a for v in tree.values() for a in (leaves(v) if isinstance(v, dict) else [v])]


def test_every_seed_trains_its_own_stage_and_a_finished_one_is_kept(tiny, tmp_path):
  config = tiny.config(stages={"dense": tiny.config(total_steps=2)}, init_from="stages/dense")
  config = {**config, "total_steps": 2, "seeds": 2}
  run.run(config, tmp_path)
  places = [tmp_path / "stages/dense", tmp_path / "seeds/1/stages/dense"]
  kernels = [leaves(stored(place)) for place in places]
  assert any((a != b).any() for a, b in zip(*kernels, strict=True))
  times = [(place / "metrics.jsonl").stat().st_mtime_ns for place in places]
  run.run({**config, "job": "evaluate"}, tmp_path)
  run.run(config, tmp_path)
  assert times == [(place / "metrics.jsonl").stat().st_mtime_ns for place in places]


def test_another_place_makes_the_stage_needless(tmp_path):
  config = {"seed": 0, "stages": {"dense": {}}, "init_from": "elsewhere"}
  assert needed(config, tmp_path) == {}
  assert origin(config, tmp_path) == pathlib.Path("elsewhere")
  assert list(needed({**config, "init_from": "stages/dense"}, tmp_path)) == [
    tmp_path / "stages" / "dense"
  ]


def test_of_several_seeds_each_gets_its_own(tmp_path):
  (tmp_path / "seeds" / "2").mkdir(parents=True)
  for seed, place in ((0, tmp_path), (2, tmp_path / "seeds" / "2")):
    assert origin({"seed": seed, "init_from": str(tmp_path)}, tmp_path / "run") == place


def test_bad_stages_are_named(tiny, tmp_path):
  with pytest.raises(BadInput, match="dense"):
    needed({"seed": 0, "stages": {"dense": {}}, "init_from": "stages/danse"}, tmp_path)
  viewing = tiny.config(stages={"dense": tiny.config(job="view")}, init_from="stages/dense")
  with pytest.raises(BadInput, match="view"):
    run.run(viewing, tmp_path)


@pytest.mark.parametrize(
  ("change", "says"),
  [
    ({"checkpoint.best": "eval/kn/top1"}, "unknown metric"),
    ({"checkpoint.kept": 2}, "checkpoint.*kept"),
    ({"init_except": "^nothing$"}, "unknown variables for init_except"),
  ],
)
def test_what_can_be_refused_is_refused_before_a_stage_is_trained(
  tiny, tmp_path, monkeypatch, change, says
):
  monkeypatch.setattr(run, "run_stages", lambda *args: pytest.fail("a stage was trained"))
  config = tiny.config(change, stages={"dense": tiny.config()}, init_from="stages/dense")
  with pytest.raises(BadInput, match=says):
    run.run(config, tmp_path / "run")
  assert not (tmp_path / "run").exists()
