"""Pruning through a config: zeros that last, in the average too, over a stop and a resume."""

import pathlib
import runpy
import shutil

import jax
import numpy as np
import pytest

from maskjax import weights
from maskjax.errors import BadInput
from maskjax.train import run
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.checkpoints.load import stored
from maskjax.train.setup.initial import first_state

tiny = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "test_run.py"))["toy"]
RATIO = {"fn": "schedule.polynomial", "start": 0.0, "end": 0.75, "stop": 0.5}
HOLD = {
  "fn": "weights.hold",
  "where": [["(embed|mix)/kernel$", True]],
  "score": {"fn": "weights.magnitude"},
  "select": {"fn": "select.top", "ratio": RATIO},
}
PRUNING = {"hold": HOLD, "ema": 0.9, "optimizer.weight_decay": 0.1, "accumulate": 2}
PRUNING["evals"] = {"sparsity": {"fn": "train.evaluators.sparsity"}}


def kernels(workdir, step=None):
  """The pruned kernels of a run, of its average where one is kept."""
  params = stored(workdir, step=step)["params"]
  return [params[layer]["kernel"] for layer in ("embed", "mix")]


@pytest.fixture(scope="module")
def pruned(tiny, tmp_path_factory):
  """A run that prunes, uninterrupted."""
  folder = tmp_path_factory.mktemp("pruned")
  run.run(tiny.config(PRUNING), folder)
  return folder


def test_the_average_of_pruned_weights_is_exactly_as_sparse_as_asked(pruned):
  for kernel in kernels(pruned):
    assert (kernel == 0).sum() == round(0.75 * kernel.size)
    assert np.unique(kernel).size > 2


def test_sparsity_follows_its_schedule(pruned):
  shares = [np.mean([(k == 0).mean() for k in kernels(pruned, step)]) for step in (4, 6)]
  np.testing.assert_allclose(shares, [0.75, 0.75], atol=0.01)  # over after half of six steps


def test_a_resumed_run_has_the_same_masks_bit_for_bit(tiny, pruned, tmp_path):
  shutil.copytree(pruned, tmp_path, dirs_exist_ok=True)
  latest = tmp_path / "checkpoints" / "6"
  for path in sorted(latest.rglob("*"), reverse=True):
    path.rmdir() if path.is_dir() else path.unlink()
  latest.rmdir()
  run.run(tiny.config(PRUNING), tmp_path)
  assert tiny.final(tmp_path) == tiny.final(pruned)


def test_masks_take_a_bit_a_weight(tiny, pruned):
  names = [name for name in tiny.final(pruned) if "hidden" in name]
  bits = sum(len(tiny.final(pruned)[name]) * 8 for name in names if "bits" in name)
  weights = sum(kernel.size for kernel in kernels(pruned))
  assert weights <= bits <= 1.1 * weights


def test_the_evaluator_counts_the_zeros_of_the_average(tiny, pruned):
  zeros, size = (sum(of(k) for k in kernels(pruned)) for of in (lambda k: (k == 0).sum(), np.size))
  params = stored(pruned)["params"]
  whole = sum(leaf.size for leaf in jax.tree.leaves(params))
  last = tiny.rows(pruned)[-1]
  assert last["eval/sparsity/total"] == zeros / size
  assert last["eval/sparsity/whole"] >= zeros / whole > 0


def test_other_weights_and_unpruned_runs_have_no_zeros(tiny, pruned):
  assert (stored(pruned)["params"]["out"]["kernel"] != 0).all()
  parts = run.make_parts(tiny.config({**PRUNING, "hold": None}))
  with pytest.raises(BadInput, match="with hold"):
    weights.masks(parts.state.opt_state)
  begun = run.make_parts(tiny.config(PRUNING)).begin(jax.random.key(0)).variables["params"]
  assert all((np.asarray(begun[layer]["kernel"]) != 0).all() for layer in ("embed", "mix"))


def test_a_run_from_given_weights_begins_with_zeros_where_masks_are_given(tiny, pruned, tmp_path):
  within = {"fn": "weights.fixed_masks", "density": 0.5, "ratios": {"fn": "weights.erk"}}
  given = {**PRUNING, "hold": {**HOLD, "within": within}, "init_from": str(pruned)}
  parts = run.make_parts(tiny.config(given))
  state, _ = first_state(parts, Checkpoints(tmp_path), 0, tmp_path)
  masks = weights.masks(state.opt_state)
  for tree in (state.variables["params"], state.ema["params"]):
    for layer in ("embed", "mix"):
      hidden = np.asarray(masks[layer]["kernel"])
      assert 0.3 < hidden.mean() < 0.7
      assert (np.asarray(tree[layer]["kernel"])[hidden] == 0).all()
    assert (np.asarray(tree["out"]["kernel"]) != 0).all()


@pytest.mark.parametrize(
  ("changes", "says"),
  [
    ({"every": 7}, "6 steps"),
    ({"where": [["embde", True]]}, "matches no parameter"),
    ({"scope": "layers"}, "layer"),
    ({"score": {"fn": "weights.magnitud"}}, "magnitude"),
  ],
)
def test_bad_sections_are_named(tiny, tmp_path, changes, says):
  with pytest.raises(BadInput, match=says):
    run.run(tiny.config({"hold": {**HOLD, **changes}}), tmp_path)
