"""One launch for each kind of task, from the command line to pictures, with everything on."""

import itertools
import pathlib
import wave

import numpy as np
import pytest

from maskjax import lab
from maskjax.cli import main

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
  """Where data sets that a smoke prepares for itself are kept for this session."""
  return tmp_path_factory.mktemp("data")


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


# One config for each kind of task, each with all of its evaluators, stages and pictures.
LAUNCHED = {
  "image": "image_mim/mae",
  "text": "masked_generative/md4",
  "sound": "tf_mask_separation/conv_tasnet",
  "graph": "graph_3d_tabular_series_mim/bandana",
  "weights": "weight_mask/fish_mask",
}


@pytest.mark.parametrize("kind", LAUNCHED)
def test_a_config_of_each_kind_trains_and_shows_its_masks(kind, tmp_path, paths, capsys):
  file = ROOT / "configs" / f"{LAUNCHED[kind]}.py"
  config, status = launch(file, "train", tmp_path, paths)
  assert status == 0
  table = capsys.readouterr().out
  assert all(name in table for name, section in config.evals.items() if reports(section))
  assert (tmp_path / "checkpoints" / str(config.total_steps)).is_dir()
  if kind != "weights":  # a classifier that hides nothing has no masks to show
    assert launch(file, "view", tmp_path / "view", paths)[1] == 0
    assert list((tmp_path / "view" / "views").glob("*.png"))


def reports(section):
  """Whether an evaluator is on and gives numbers, not pictures."""
  return section.every >= 0 and section.fn not in ("reconstruction", "samples")


def test_a_table_is_written_with_its_missing_cells_filled_in(tmp_path, table, capsys):
  file = ROOT / "configs" / "graph_3d_tabular_series_mim" / "remasker.py"
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
