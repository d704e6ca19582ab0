"""Every config: presets load, the smoke runs, and at the paper's scale it is the paper's model."""

import math
import pathlib

import jax
import numpy as np
import pytest

from maskjax import lab
from maskjax.cli import main
from maskjax.record import Record
from maskjax.train.build import make_optimizer, make_task
from maskjax.train.durations import duration
from maskjax.train.run import plain
from maskjax.train.state import parameter_count, start
from maskjax.train.step import make_step

ROOT = pathlib.Path(__file__).parents[1]
FILES = [p for p in sorted((ROOT / "configs").rglob("*.py")) if not p.name.startswith("_")]
every_config = pytest.mark.parametrize("file", FILES, ids=lambda p: p.stem)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
  """Where data sets that a smoke prepares for itself are kept for this session."""
  return tmp_path_factory.mktemp("data")


@every_config
def test_presets_keep_the_fields_of_the_default(file):
  module = lab.load(file)
  assert {"laptop", "smoke"} <= set(module.PRESETS)
  fields = set(module.get_config())
  for preset in module.PRESETS:
    assert set(module.get_config(preset)) == fields
    assert module.get_config(f"{preset},seed=7").seed == 7


@every_config
@pytest.mark.parametrize("job", ["train", "view"])
def test_smoke_runs(file, job, tmp_path, prepared, capsys):
  place = [f"--config={file}:smoke", f"--workdir={tmp_path}", f"--config.job={job}"]
  assert main(["launch.py", *place, f"--config.data.path={prepared}"]) == 0
  assert capsys.readouterr().out.strip()
  assert list((tmp_path / "views").glob("*.png"))
  if job == "train":
    steps = lab.read(f"{file}:smoke").total_steps
    assert (tmp_path / "checkpoints" / str(steps)).is_dir()


@every_config
def test_the_paper_scale_traces_and_counts_the_papers_parameters(file):
  module = lab.load(file)
  config, scale = plain(module.get_config()), module.NOTE["scale"]
  shape, batch_size = scale["shape"], config["batch_size"]
  split = config["data"]["train"]
  record = Record("image", shape, {split: scale["examples"]}, mean=(0.5,) * 3, std=(0.2,) * 3)
  batch = {
    "image": jax.ShapeDtypeStruct((batch_size, *shape), np.float32),
    "position": jax.ShapeDtypeStruct((batch_size,), np.int32),
  }
  task = make_task(config, record)
  variables = jax.eval_shape(task.init, jax.random.key(0), batch)
  assert parameter_count(variables) == scale["parameters"]
  lengths = dict(batch_size=batch_size, examples=scale["examples"])
  total_steps = duration("total", config, **lengths)
  assert total_steps == math.floor(config["total_epochs"] * scale["examples"] / batch_size + 0.5)
  tx = make_optimizer(config, variables["params"], total_steps, **lengths).tx
  begin = lambda key, batch: start(task, tx, key, batch, bool(config["ema"]))
  state = jax.eval_shape(begin, jax.random.key(0), batch)
  step = make_step(task, tx, accumulate=config["accumulate"], ema=config["ema"])
  after, metrics = jax.eval_shape(step, state, batch)
  kind = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  assert kind(after) == kind(state)
  assert (metrics["loss"].shape, metrics["loss"].dtype) == ((), np.float32)
