"""Every config: presets load, the smoke runs, and at the paper's scale it is the paper's model."""

import dataclasses
import itertools
import math
import pathlib
import wave

import jax
import numpy as np
import pytest

from maskjax import lab
from maskjax.cli import main
from maskjax.record import Record
from maskjax.train.build import make_optimizer, make_task
from maskjax.train.durations import duration
from maskjax.train.mesh import make_mesh
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
def test_the_mesh_is_chosen_on_the_command_line(file):
  config = lab.read(f"{file}:smoke")
  assert make_mesh(plain(config)["mesh"]).preset == "data"
  for key, value in (("preset", "fsdp"), ("shape.fsdp", "1"), ("rules", "(('x$', (None,)),)")):
    lab.assign(config, f"mesh.{key}", value)
  mesh = make_mesh(plain(config)["mesh"])
  assert (mesh.preset, mesh.rules) == ("fsdp", (("x$", (None,)),))


@pytest.fixture(scope="session")
def novel(tmp_path_factory):
  """A text file to learn from."""
  path = tmp_path_factory.mktemp("text") / "text.txt"
  path.write_text("the quick brown fox jumps over the lazy dog. " * 60)
  return path


@pytest.fixture(scope="session")
def table(tmp_path_factory):
  """A csv file of numbers, with a cell that is missing."""
  path = tmp_path_factory.mktemp("table") / "table.csv"
  rows = [f"{i},{i % 7},{i * i % 11}" for i in range(40)]
  path.write_text("\n".join(["a,b,c", *rows, "1,,2"]) + "\n")
  return path


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
  """A folder of short recordings, ten of each of two digits."""
  folder = tmp_path_factory.mktemp("recordings")
  rng = np.random.default_rng(0)
  for digit, n in itertools.product(range(2), range(10)):
    with wave.open(str(folder / f"{digit}_speaker_{n}.wav"), "wb") as file:
      file.setparams((1, 2, 8000, 0, "NONE", ""))
      file.writeframes(rng.integers(-9999, 9999, 2000 + 100 * n, dtype="<i2").tobytes())
  return folder


@pytest.fixture(scope="session")
def graph(tmp_path_factory):
  """A ring of nodes of two classes, with some chords."""
  path, node = tmp_path_factory.mktemp("graph") / "graph.npz", np.arange(24)
  edges = [np.stack([node, (node + step) % 24], 1) for step in (1, 5)]
  parts = {"train": node[::2], "val": node[1::4], "test": node[3::4]}
  np.savez(path, features=np.eye(24), edges=np.concatenate(edges), label=node // 12, **parts)
  return path


def launch(file, job, workdir, paths):
  """Runs the smoke of a config, with its data and that of its stages where the tests keep them."""
  config = lab.read(f"{file}:smoke")
  places = {"": config.data.name}
  places |= {f"stages.{k}.": stage.data.name for k, stage in config.get("stages", {}).items()}
  data = [f"--config.{k}data.path={paths[name]}" for k, name in places.items()]
  where = [f"--config={file}:smoke", f"--workdir={workdir}", f"--config.job={job}"]
  return config, main(["launch.py", *where, *data])


@pytest.fixture(scope="module")
def paths(prepared, novel, table, recordings, graph):
  """Data of each kind, small."""
  kinds = {"digits": prepared, "motion": prepared, "text": novel, "table": table}
  return {**kinds, "wav": recordings, "mixtures": recordings, "graph": graph}


@every_config
def test_smoke_trains(file, tmp_path, paths, capsys):
  config, status = launch(file, "train", tmp_path, paths)
  assert status == 0
  assert capsys.readouterr().out.strip()
  assert (tmp_path / "checkpoints" / str(config.total_steps)).is_dir()


@every_config
def test_smoke_shows_its_masks(file, tmp_path, paths, capsys):
  config, status = launch(file, "view", tmp_path, paths)
  if config.task.fn == "classify" and "hide" not in config:
    assert status == 2
    assert "nothing to view" in capsys.readouterr().err
  else:
    assert status == 0
    assert list((tmp_path / "views").glob("*.png"))


def test_a_table_is_written_with_its_missing_cells_filled_in(tmp_path, table, capsys):
  file = ROOT / "configs" / "tabular" / "remasker.py"
  where = [f"--config={file}:smoke,data.path={table}", f"--workdir={tmp_path}"]
  alone = ["--config.data.missing=None", "--config.evals.imputation=None"]
  for job in ("train", "generate"):
    assert main(["launch.py", *where, *alone, f"--config.job={job}"]) == 0
  given, filled = (
    path.read_text().splitlines() for path in (table, tmp_path / "views" / "00000002_filled.csv")
  )
  assert filled[:-1] == given[:-1]
  first, middle, last = filled[-1].split(",")
  assert (first, last) == ("1", "2")
  assert 0 <= float(middle) <= 6


def abstract_data(scale, split, batch_size):
  """The record of the paper's data and the shapes of a batch of it."""
  shape, sizes = scale["shape"], {split: scale["examples"]}
  array = lambda *axes, dtype=np.int32: jax.ShapeDtypeStruct((batch_size, *axes), dtype)
  if "vocabulary" in scale:
    record = Record("text", shape, sizes, vocabulary=tuple(map(str, range(scale["vocabulary"]))))
    return record, {"tokens": array(*shape), "valid": array(*shape, dtype=bool)}
  if scale.get("kind") == "table":
    record = Record("table", shape, sizes, mean=(0.0,), std=(1.0,))
    return record, {"table": array(*shape, dtype=np.float32), "valid": array(*shape, dtype=bool)}
  if scale.get("kind") == "video":
    record = Record("video", shape, sizes, mean=(0.5,) * 3, std=(0.2,) * 3)
    return record, {"video": array(*shape, dtype=np.float32)}
  names = tuple(map(str, range(scale.get("classes", 0))))
  if scale.get("kind") == "graph":
    record, m = Record("graph", shape, sizes, names), scale["edges"]
    nodes, unit = array(*shape, dtype=np.float32), array(m)
    return record, {"nodes": nodes, "edges": array(m, 2), "unit": unit, "size": array()}
  if scale.get("kind") == "mixture":
    record, signal = Record("mixture", shape, sizes, rate=8000), shape[1:]
    both = {"mixture": array(*signal, dtype=np.float32), "sources": array(*shape, dtype=np.float32)}
    return record, both
  record = Record("image", shape, sizes, class_names=names, mean=(0.5,) * 3, std=(0.2,) * 3)
  labels = {"label": array()} if names else {}
  if "caption" in scale:
    words, length = tuple(map(str, range(scale["words"]))), scale["caption"]
    record = dataclasses.replace(record, vocabulary=words, unit="words", caption=length)
    labels["caption"] = array(length)
  return record, {"image": array(*shape, dtype=np.float32), **labels}


@every_config
def test_the_paper_scale_traces_and_counts_the_papers_parameters(file):
  module = lab.load(file)
  config, scale = plain(module.get_config()), module.NOTE["scale"]
  batch_size = config["batch_size"]
  record, batch = abstract_data(scale, config["data"].get("train", "train"), batch_size)
  batch["position"] = jax.ShapeDtypeStruct((batch_size,), np.int32)
  task = make_task(config, record)
  variables = jax.eval_shape(task.init, jax.random.key(0), batch)
  assert parameter_count(variables) == scale["parameters"]
  lengths = dict(batch_size=batch_size, examples=scale["examples"])
  total_steps = duration("total", config, **lengths)
  if config["total_epochs"]:
    epochs = config["total_epochs"] * scale["examples"] / batch_size
    assert total_steps == math.floor(epochs + 0.5)
  tx = make_optimizer(config, variables["params"], total_steps, **lengths).tx
  begin = lambda key, batch: start(task, tx, key, batch, bool(config["ema"]))
  state = jax.eval_shape(begin, jax.random.key(0), batch)
  step = make_step(task, tx, accumulate=config["accumulate"], ema=config["ema"])
  after, metrics = jax.eval_shape(step, state, batch)
  kind = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  assert kind(after) == kind(state)
  assert (metrics["loss"].shape, metrics["loss"].dtype) == ((), np.float32)
