"""Sparse fine-tuning through a config: statistics, masks and frozen weights, over a resume too."""

import copy
import pathlib
import runpy
import shutil

import jax
import numpy as np
import pytest

from maskjax import lab, weights
from maskjax.errors import BadInput
from maskjax.train import run
from maskjax.train.checkpoints import delta
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.checkpoints.load import stored
from maskjax.train.setup.initial import first_state, snapshot
from maskjax.train.workdirs.workdir import write_config, write_record

tiny = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "test_run.py"))["toy"]
SUPERVISED = lab.load(pathlib.Path(__file__).parents[3] / "configs" / "base" / "supervised.py")
GRAPH = ("task", "over", "let", "losses", "answers")
BODY = {
  **{name: run.plain(SUPERVISED.get_config())[name] for name in GRAPH},
  "model": {"fn": "toy_network:classifier", "width": 8},
  "score": None,
  "select": None,
  "target": None,
  "optimizer.weight_decay": 0.1,
  "data.classes": [0, 1],
}
SPARSE = {
  **BODY,
  "data.classes": [2, 3],
  "ema": 0.9,
  "prepare": {"squared_gradients": {"fn": "task.squared_gradients", "examples": 24}},
  "hold": {
    "fn": "weights.update_only",
    "where": [["^head/", False], [".", True]],
    "score": {"fn": "weights.fisher"},
    "select": {"fn": "select.top", "ratio": 0.9},
  },
  "init_except": "^params/head/",
}


def config_of(tiny, changes, **more):
  """A config without the sections that are None."""
  config = tiny.config(copy.deepcopy(changes), **more)
  return {name: section for name, section in config.items() if section is not None}


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory):
  """Workdirs of a network of two classes, of drawn weights, and of one tuned on two others."""
  folder, rng = tmp_path_factory.mktemp("sparse"), np.random.default_rng(0)
  parts = run.make_parts(config_of(tiny, BODY))
  drawn = lambda leaf: 0.5 * rng.random(leaf.shape, leaf.dtype) + 0.1
  variables = jax.tree.map(drawn, parts.state.variables)
  with Checkpoints(folder / "base") as checkpoints:
    checkpoints.save(6, {"state": {"variables": variables}})
  write_config(folder / "base", parts.config)
  write_record(folder / "base", parts.data.record)
  run.run(config_of(tiny, SPARSE, init_from=str(folder / "base")), folder / "tuned")
  return folder / "base", folder / "tuned"


def state_of(tiny, workdir, **more):
  parts = run.make_parts(config_of(tiny, SPARSE, **more))
  found = Checkpoints(workdir).restore(snapshot(parts.state, 0))
  return found[1]["state"]


def test_what_is_frozen_is_the_base_in_the_average_too(tiny, runs):
  base, tuned = map(stored, runs)
  state = state_of(tiny, runs[1])
  hidden = weights.masks(state.opt_state)
  assert hidden["head"] == {"kernel": None, "bias": None}
  for tree in (tuned["params"], state.ema["params"], state.variables["params"]):
    differs = lambda a, b: np.asarray(a != b)
    moved = jax.tree.map(differs, tree["encoder"], base["params"]["encoder"])
    jax.tree.map(lambda m, h: np.testing.assert_array_equal(m & h, False), moved, hidden["encoder"])
    free = sum(int((~np.asarray(m)).sum()) for m in jax.tree.leaves(hidden))
    assert 0 < sum(int(m.sum()) for m in jax.tree.leaves(moved)) <= free


def test_what_is_excepted_begins_anew_and_the_rest_as_given(tiny, runs, tmp_path):
  config = config_of(tiny, SPARSE, init_from=str(runs[0]))
  parts = run.make_parts(config)
  state, _ = first_state(parts, Checkpoints(tmp_path), 0, tmp_path)
  equal = lambda a, b: jax.tree.map(np.testing.assert_array_equal, a, b)
  scratch, base = parts.begin(jax.random.key(0)).variables, stored(runs[0])
  equal(state.variables["params"]["head"], scratch["params"]["head"])
  for collection in ("params", "batch_stats"):
    equal(state.variables[collection]["encoder"], base[collection]["encoder"])
  assert (base["params"]["head"]["kernel"] != scratch["params"]["head"]["kernel"]).any()


def test_the_masks_are_those_of_the_prepared_statistic(tiny, runs):
  state = state_of(tiny, runs[1])
  found = state.variables["prepared"]["squared_gradients"]["encoder"]
  hidden = weights.masks(state.opt_state)["encoder"]
  flat = lambda tree: np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])
  scores, mask = flat(found), flat(hidden)
  assert mask.sum() == round(0.9 * mask.size)
  assert scores[~mask].min() >= scores[mask].max() > 0


def test_preparation_is_the_same_at_every_beginning_and_another_for_another_seed(tiny, tmp_path):
  def begin(seed, workdir):
    config = config_of(tiny, SPARSE, init_except="")
    state, _ = first_state(run.make_parts(config), Checkpoints(workdir), seed, workdir)
    return state.variables["prepared"]["squared_gradients"]["head"]["bias"]

  first, again, other = (begin(seed, tmp_path / str(i)) for i, seed in enumerate((0, 0, 1)))
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


def test_a_resumed_run_keeps_its_statistic_and_its_masks(tiny, runs, tmp_path):
  config = config_of(tiny, SPARSE, init_from=str(runs[0]))
  shutil.copytree(runs[1], tmp_path, dirs_exist_ok=True)
  latest = tmp_path / "checkpoints" / "6"
  for path in sorted(latest.rglob("*"), reverse=True):
    path.rmdir() if path.is_dir() else path.unlink()
  latest.rmdir()
  run.run(config, tmp_path)
  assert tiny.final(tmp_path) == tiny.final(runs[1])


def test_the_delta_of_two_workdirs_is_small_and_exact(runs, tmp_path, capsys):
  file = tmp_path / "delta.safetensors"
  assert delta.main([*map(str, runs), str(file)]) == 0
  assert "bytes for" in capsys.readouterr().out
  base, tuned = delta.between(*map(str, runs))
  assert set(base) == set(tuned) == {"params", "batch_stats"}
  got = delta.load(file, base)
  jax.tree.map(np.testing.assert_array_equal, got, dict(tuned))
  assert delta.main([str(runs[0]), str(runs[0]), str(file)]) == 2


@pytest.mark.parametrize(
  ("changes", "says"),
  [
    ({"prepare": None}, "fisher needs squared_gradients"),
    ({"prepare.squared_gradients.fn": "task.squared_gradient"}, "did you mean 'squared_gradients'"),
    ({"prepare.squared_gradients.labels": "modle"}, "did you mean 'model'"),
    ({"hold.where": [["haed", False]]}, "matches no parameter"),
    ({"data.classes": [7]}, "data.classes"),
  ],
)
def test_bad_sections_are_named(tiny, tmp_path, changes, says):
  with pytest.raises(BadInput, match=says):
    run.run(config_of(tiny, {**SPARSE, **changes}), tmp_path)


@pytest.mark.parametrize(
  ("pattern", "says"), [("^params/haed", "init_except"), ("(", "no regular expression")]
)
def test_exceptions_that_are_none_are_named(tiny, runs, tmp_path, pattern, says):
  config = config_of(tiny, {**SPARSE, "init_except": pattern}, init_from=str(runs[0]))
  with pytest.raises(BadInput, match=says):
    run.run(config, tmp_path)
