"""The job that explains: any classifier and any hiding, from a checkpoint or from given weights."""

import json
import pathlib
import runpy
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import lab
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.train import run
from maskjax.train.checkpoints import export
from maskjax.train.jobs.explanation import _onto, explain

tiny = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "test_run.py"))["tiny"]
HIDES = {"carried": {"fn": "hide.carry"}, "half": {"fn": "hide.fill", "value": 0.5}}
FIGURES = {"accuracy", "unchanged", "entropy", "agreement", "deletion", "leak"}
SUPERVISED = lab.load(pathlib.Path(__file__).parents[3] / "configs" / "base" / "supervised.py")
GRAPH = ("task", "over", "let", "losses", "answers")
MODEL = {"fn": "model.resnet", "depth": 8, "width": 2, "carry": "neighbours"}
SMALL = dict(
  judge="half", examples=8, segments=4, explained=2, draws=6, batch_size=16, shares=(0.0, 0.5, 1.0)
)


@pytest.fixture(scope="module")
def config(tiny, tmp_path_factory):
  """`config(**changes)` explains a network of drawn weights, which lie in a file."""

  def make(**changes):
    made = tiny.config(**changes)
    for name in ("score", "select", "hide", "target"):
      made.pop(name, None)
    sections = {name: run.plain(SUPERVISED.get_config())[name] for name in GRAPH} | {"model": MODEL}
    return {**made, **sections, "job": "explain", "explain": {**SMALL, "hides": HIDES}}

  parts = run.make_parts(make())
  rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("weights") / "w.safetensors"
  draw = lambda leaf: np.exp(rng.normal(size=leaf.shape) / 4).astype(np.float32) - 0.9
  params = jax.tree.map(draw, parts.state.variables["params"])
  export.export(path, {"params": params})
  return lambda **changes: make(**{"init_from": str(path), **changes})


def test_a_classifier_is_explained(config, tmp_path):
  said = run.run(config(), tmp_path)
  row = json.loads((tmp_path / "metrics.jsonl").read_text())
  for way in HIDES:
    assert {k.split("/")[2] for k in row if k.startswith(f"explain/{way}/")} == FIGURES
    assert row[f"explain/{way}/unchanged/0"] == 1
    assert -1 <= row[f"explain/{way}/agreement"] <= 1
    assert row[f"explain/{way}/entropy/1"] == 0  # with everything hidden all look alike
    for figure in ("leak", "deletion", "accuracy", "unchanged/0.5"):
      assert 0 <= row[f"explain/{way}/{figure}"] <= 1
    assert way in said
  drawn = {path.name for path in (tmp_path / "views").iterdir()}
  names = ("accuracy", "entropy", "explained", "hidden", "unchanged")
  assert {f"00000000_{name}.png" for name in names} < drawn
  assert (tmp_path / "views" / "00000000_explained.txt").read_text().strip() in said
  assert not (tmp_path / "checkpoints" / "0").exists()


def test_weights_are_wanted(config, tmp_path):
  with pytest.raises(BadInput, match="no checkpoint yet: train first, or name weights"):
    run.run(config(init_from=""), tmp_path)


def test_a_task_that_does_not_classify_is_refused_before_weights_are_looked_for(tiny, tmp_path):
  with pytest.raises(BadInput, match=r"^explain needs predict, the task offers features"):
    run.run(tiny.config(job="explain"), tmp_path)


@pytest.mark.parametrize(
  ("change", "says"),
  [
    ({"judge": "haf"}, "did you mean 'half'"),
    ({"split": "tets"}, "did you mean 'test'"),
    ({"hides": {"half": {"fn": "hide.mix"}}}, "mix needs other"),
    ({"hides": {"half": {"fn": "hide.fil"}}}, "did you mean 'fill'"),
  ],
)
def test_what_cannot_be_explained_is_named(change, says):
  record = Record("image", (8, 8, 1), {"test": 4}, mean=(0.5,), std=(0.5,))
  task = SimpleNamespace(answers={"predict": len, "features": len})
  mesh = SimpleNamespace(check=lambda *given: None)
  context = SimpleNamespace(record=record, task=task, mesh=mesh)
  with pytest.raises(BadInput, match=says):
    explain(context, **{"hides": HIDES, "judge": "half", **change})
  context.task.answers = {}
  with pytest.raises(BadInput, match="explain needs predict, the task offers nothing"):
    explain(context)


def test_masks_of_pixels_become_those_of_patches():
  hidden = np.zeros((1, 4, 6), bool)
  hidden[0, :2, :3] = hidden[0, 0, 3] = hidden[0, 2, 3:] = True
  flat = jnp.asarray(hidden.reshape(1, -1))
  assert _onto(flat, (4, 6), (2, 2)).tolist() == [[True, False, False, False]]
  np.testing.assert_array_equal(_onto(flat, (4, 6), (4, 6)), hidden)
