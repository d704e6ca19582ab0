"""The job that explains: any classifier and any hiding, from a checkpoint or from given weights."""

import json
import pathlib
import runpy

import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.train import run

tiny = runpy.run_path(str(pathlib.Path(__file__).with_name("test_run.py")))["tiny"]
HIDES = {"carried": {"fn": "carry"}, "half": {"fn": "fill", "value": 0.5}}
FIGURES = {"accuracy", "unchanged", "entropy", "agreement", "deletion", "leak"}
SMALL = dict(examples=8, segments=4, explained=2, draws=6, batch_size=16, shares=(0.0, 0.5, 1.0))
MODELS = {
  "resnet": {"fn": "resnet", "depth": 8, "width": 2, "carry": "neighbours"},
  "vit": {"fn": "vit_classifier", "patch": (2, 2), "width": 8, "depth": 1, "heads": 2},
}


@pytest.fixture(scope="module")
def classifier(tiny):
  """`classifier(model, **changes)` is a tiny run's config."""

  def config(model, **changes):
    made = tiny.config(total_steps=1, **changes)
    for name in ("score", "select", "target"):
      del made[name]
    sections = dict(task={"fn": "classify"}, recover={"fn": "cross_entropy"}, model=MODELS[model])
    return {**made, **sections, "explain": {**SMALL, "hides": HIDES, "judge": "half"}}

  return config


@pytest.mark.parametrize("model", MODELS)
def test_any_classifier_is_explained(classifier, tmp_path, model):
  run.run(classifier(model), tmp_path)
  said = run.run(classifier(model, job="explain"), tmp_path)
  row = {}
  for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
    row |= {k: v for k, v in json.loads(line).items() if k.startswith("explain/")}
  for way in HIDES:
    found = {k.split("/")[2]: v for k, v in row.items() if k.count("/") == 2 and way in k}
    assert set(found) == FIGURES
    assert 0 <= found["leak"] <= 1
    assert row[f"explain/{way}/unchanged/0"] == 1
    assert way in said
  for share in (0.0, 0.5, 1.0):
    assert 0 <= row[f"explain/half/entropy/{share:g}"] <= np.log(4) + 1e-6
  # With everything hidden all examples look alike.
  assert row["explain/carried/entropy/1"] == row["explain/half/entropy/1"] == 0
  drawn = {path.name for path in (tmp_path / "views").iterdir()}
  names = ("accuracy", "entropy", "explained", "hidden", "unchanged")
  assert {f"00000001_{name}.png" for name in names} < drawn
  assert (tmp_path / "views" / "00000001_explained.txt").read_text().strip() in said
  if model == "resnet":
    elsewhere = classifier(model, job="explain", init_from=str(tmp_path))
    assert run.run(elsewhere, tmp_path / "other").splitlines()[:3] == said.splitlines()[:3]


def test_what_cannot_be_explained_is_named(classifier, tiny, tmp_path):
  with pytest.raises(BadInput, match="no checkpoint yet: train first, or name weights"):
    run.run(classifier("resnet", job="explain"), tmp_path)
  run.run(classifier("resnet"), tmp_path)
  for change, says in (
    ({"judge": "haf"}, "did you mean 'half'"),
    ({"split": "tets"}, "did you mean 'test'"),
    ({"hides": {"half": {"fn": "mix"}}}, "mix needs other"),
    ({"hides": {"half": {"fn": "fil"}}}, "did you mean 'fill'"),
  ):
    config = classifier("resnet", job="explain")
    config["explain"] |= change
    with pytest.raises(BadInput, match=says):
      run.run(config, tmp_path)
  run.run(tiny.config(total_steps=1), tmp_path / "mae")
  with pytest.raises(BadInput, match="wants a task that classifies images"):
    run.run(tiny.config(total_steps=1, job="explain"), tmp_path / "mae")
