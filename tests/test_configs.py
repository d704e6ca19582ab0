"""Every config: presets load, its smoke does what it did, and the paper's scale is the paper's."""

import json
import math
import pathlib

import jax
import numpy as np
import pytest

from maskjax import lab
from maskjax.data import tiny
from maskjax.train.build import make_task
from maskjax.train.durations import duration
from maskjax.train.mesh import make_mesh
from maskjax.train.run import DRAWERS, plain
from maskjax.train.state import parameter_count
from maskjax.view.masks import masks
from maskjax.view.video import stills

ROOT = pathlib.Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "configs"
FILES = [p for p in sorted((ROOT / "configs").rglob("*.py")) if not p.name.startswith("_")]
every_config = pytest.mark.parametrize("file", FILES, ids=lambda p: p.stem)


@every_config
def test_presets_keep_the_fields_of_the_default(file):
  module = lab.load(file)
  assert {"laptop", "smoke"} <= set(module.PRESETS)
  fields = set(module.get_config())
  for preset in module.PRESETS:
    assert set(module.get_config(preset)) == fields
    assert module.get_config(f"{preset},seed=7").seed == 7


@every_config
def test_the_mesh_is_chosen_on_the_command_line(file):
  config = lab.read(f"{file}:smoke")
  assert make_mesh(plain(config)["mesh"]).preset == "data"
  for key, value in (("preset", "fsdp"), ("shape.fsdp", "1"), ("rules", "(('x$', (None,)),)")):
    lab.assign(config, f"mesh.{key}", value)
  mesh = make_mesh(plain(config)["mesh"])
  assert (mesh.preset, mesh.rules) == ("fsdp", (("x$", (None,)),))


@every_config
def test_it_does_what_it_did(file, built, behaviour):
  """Masks, terms and what is trained; `python tests/golden/make_configs.py ID` writes them anew."""
  stored = json.loads((GOLDEN / f"{file.stem}.json").read_text())
  now = behaviour.behaviour(built(file.stem), built(file.stem, "laptop"))
  assert not list(behaviour.differences(stored, now))


@every_config
def test_the_smoke_trains(file, built):
  made = built(file.stem, "laptop")
  state, metrics = made.trained.state, made.trained.metrics
  kind = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  assert kind(state.variables) == kind(made.shapes)
  assert all(np.isfinite(value).all() for value in metrics.values())
  begun, ended = (jax.tree.leaves(v["params"]) for v in (made.variables, state.variables))
  assert any((np.asarray(a) != b).any() for a, b in zip(begun, ended, strict=True))


@every_config
def test_its_views_can_be_drawn(file, built):
  """Of zeros beside the batch: what is drawn is for tests/view, this is about names and shapes."""
  made = built(file.stem, "laptop")
  if "views" not in made.task.answers:
    assert made.config["task"]["fn"] in ("classify", "tokenize")
    return
  shapes = jax.eval_shape(made.task.answers["views"], made.shapes, made.batch, jax.random.key(0))
  views = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), dict(shapes))
  views |= {k: v for k, v in made.batch.items() if k in views}
  draw = DRAWERS.get(made.record.kind, masks)
  picture = draw(stills(views) if made.record.kind == "video" else views, made.record)
  assert min(np.asarray(picture).shape[:2]) > 8


@every_config
def test_the_paper_scale_has_the_papers_parameters(file):
  module = lab.load(file)
  config, scale = plain(module.get_config()), module.NOTE["scale"]
  batch_size = config["batch_size"]
  record = tiny.record(scale, config["data"].get("train", "train"))
  batch = tiny.batch(scale, 1)
  shapes = jax.eval_shape(make_task(config, record).init, jax.random.key(0), batch)
  assert parameter_count(shapes) == scale["parameters"]
  if config["total_epochs"]:
    lengths = dict(batch_size=batch_size, examples=scale["examples"])
    epochs = config["total_epochs"] * scale["examples"] / batch_size
    assert duration("total", config, **lengths) == math.floor(epochs + 0.5)
