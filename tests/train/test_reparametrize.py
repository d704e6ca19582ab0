"""Learned masks through a config: a dense model, its masks, and what is handed on."""

import pathlib
import runpy
import shutil

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

import maskjax as mj
from maskjax import catalogue, lab
from maskjax.errors import BadInput
from maskjax.train import run
from maskjax.train.checkpoints import delta, export
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.checkpoints.load import stored
from maskjax.train.log.summary import read_metrics
from maskjax.train.setup.initial import first_state

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
FILE, DENSE = CONFIGS / "weight_mask" / "maskllm.py", CONFIGS / "base" / "causal_lm.py"


@pytest.fixture(scope="module", autouse=True)
def remembered():
  """Runs of like configs share their compiled parts."""
  with runpy.run_path(str(pathlib.Path(__file__).with_name("test_run.py")))["remembered"]():
    yield


@pytest.fixture(scope="module")
def text(tmp_path_factory):
  path = tmp_path_factory.mktemp("text") / "text.txt"
  path.write_text("the quick brown fox jumps over the lazy dog. " * 60)
  return path


def smoke_of(file, text):
  """The smoke of a config, on short windows of the text."""
  return lab.read(f"{file}:smoke,data.name=text,data.length=16,data.path={text}")


def config_of(text, *changes):
  """Two steps of `wanda` and of its stage, with `changes` such as "reparametrize.prior=1.0"."""
  config = smoke_of(FILE, text)
  lab.load(FILE).wanda(config)
  config.stages, config.init_from = {"dense": smoke_of(DENSE, text)}, "stages/dense"
  config.evals.scalars.every = config.evals.sparsity.every = 0
  return lab.assigned(config, ["prepare.input_norms.examples=8", *changes])


@pytest.fixture(scope="module")
def workdir(text, tmp_path_factory):
  """A finished smoke at a rate that changes masks."""
  folder = tmp_path_factory.mktemp("run")
  run.run(config_of(text, "optimizer.learning_rate=1.0"), folder)
  return folder


def kernels(params):
  """The weights of the blocks by name, as groups of four inputs, and all other weights."""
  flat = {name: np.asarray(leaf) for name, leaf in flatten_dict(params, sep="/").items()}
  inner = {n: x for n, x in flat.items() if n.startswith("block_") and n.endswith("kernel")}
  groups = {n: x.reshape(-1, 4, x.shape[-1]) for n, x in inner.items()}
  return groups, {n: x for n, x in flat.items() if n not in inner}


def test_weights_stay_those_of_the_dense_model_and_masks_move(workdir):
  dense, after = stored(workdir / "stages" / "dense")["params"], stored(workdir)["params"]
  masks = after.pop("masks")
  jax.tree.map(np.testing.assert_array_equal, dict(after), dict(dense))
  assert set(flatten_dict(masks, sep="/")) == set(kernels(dense)[0])
  figures = read_metrics(workdir / "metrics.jsonl")
  assert 0 < figures[2]["eval/scalars/changed"] <= 1
  assert figures[0]["eval/scalars/changed"] < 0.2
  assert figures[2]["eval/sparsity/groups"] == 1
  assert figures[2]["eval/sparsity/total"] == 0.5


def test_what_is_loaded_and_handed_on_is_sparse(text, workdir, tmp_path):
  apply, variables, preprocess = mj.load(workdir)
  assert set(variables["params"]) == set(stored(workdir / "stages" / "dense")["params"])
  dense, others = kernels(stored(workdir)["params"])
  sparse, same = kernels(variables["params"])
  for name, groups in sparse.items():
    assert ((groups != 0).sum(1) == 2).all()
    np.testing.assert_array_equal(groups, np.where(groups == 0, 0, dense[name]))
  for name, leaf in same.items():
    np.testing.assert_array_equal(leaf, others[name])
  batch = preprocess(["the lazy fox"])
  hard, learned = (apply(given, batch)["mean"] for given in (variables, stored(workdir)))
  np.testing.assert_allclose(hard, learned, rtol=1e-5, atol=1e-6)
  export.export(tmp_path / "sparse.safetensors", {"params": variables["params"]})
  plain = smoke_of(DENSE, text)
  plain.init_from = str(tmp_path / "sparse.safetensors")
  parts = run.make_parts(run.plain(plain))
  state, _ = first_state(parts, Checkpoints(tmp_path), 0, tmp_path)
  jax.tree.map(np.testing.assert_array_equal, state.variables["params"], variables["params"])
  features = jax.jit(parts.task.answers["features"])(state.variables, batch)["mean"]
  np.testing.assert_allclose(features, apply(variables, batch)["mean"], rtol=1e-5, atol=1e-6)


def test_the_delta_to_the_dense_model_is_the_masks_as_bits(workdir, tmp_path):
  base, masked = delta.between(str(workdir / "stages" / "dense"), str(workdir))
  delta.save(tmp_path / "delta.safetensors", base, masked)
  after = delta.load(tmp_path / "delta.safetensors", base)
  jax.tree.map(np.testing.assert_array_equal, after["params"], mj.load(workdir)[1]["params"])
  change = flatten_dict(delta.delta(base, masked)["params"], sep="/")
  dense = kernels(base["params"])[0]
  assert {name: x.size for name, x in change.items()} == {
    f"{name}/hidden": groups.size // 8 for name, groups in dense.items()
  }


def test_masks_of_a_run_go_on_being_learned_elsewhere(text, workdir, tmp_path):
  config = config_of(text, "reparametrize.prior=0.0")
  config.init_from = str(workdir)
  parts = run.make_parts(run.plain(config))
  state, _ = first_state(parts, Checkpoints(tmp_path), 0, tmp_path)
  theirs = stored(workdir)["params"]["masks"]
  jax.tree.map(np.testing.assert_array_equal, state.variables["params"]["masks"], theirs)


def test_a_killed_run_ends_as_an_uninterrupted_one(text, workdir, tmp_path):
  shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
  latest = tmp_path / "checkpoints" / "2"
  for path in sorted(latest.rglob("*"), reverse=True):
    path.rmdir() if path.is_dir() else path.unlink()
  latest.rmdir()
  run.run(config_of(text, "optimizer.learning_rate=1.0"), tmp_path)
  jax.tree.map(np.testing.assert_array_equal, stored(tmp_path), stored(workdir))


def test_the_catalogue_knows_whose_functions_they_are():
  functions = catalogue.entry(FILE)["functions"]
  assert {"weights.learned_patterns", "weights.magnitude", "select.softmax"} <= set(functions)


@pytest.mark.parametrize(
  ("change", "says"),
  [
    ("reparametrize.fn=weights.learned_pattern", "did you mean 'learned_patterns'"),
    ("reparametrize.score.fn=weights.magnitud", "did you mean 'magnitude'"),
    ("reparametrize.where=(('kernle',True),)", "matches no parameter"),
    ("reparametrize.of=5", "groups of 5 inputs"),
    ("prepare.input_norms.fn=task.input_norm", "did you mean 'input_norms'"),
    ("prepare.input_norms.fn=task.squared_gradients", "squared_gradients needs predict, the task"),
  ],
)
def test_bad_sections_are_named(text, tmp_path, change, says):
  with pytest.raises(BadInput, match=says):
    run.run(config_of(text, change), tmp_path)


def test_scores_without_their_statistic_are_named(text, workdir, tmp_path):
  config = config_of(text)
  config.prepare, config.init_from = {}, str(workdir / "stages" / "dense")
  with pytest.raises(BadInput, match="input_scaled_magnitude needs input_norms"):
    run.run(config, tmp_path)
