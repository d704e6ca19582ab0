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


@pytest.fixture(scope="module")
def paths(novel, recordings, graph):
  """Data of each kind, small."""
  return {"text": novel, "mixtures": recordings, "graph": graph}


# One config for each kind of data and one of weights; the name of its own data, or "" for tiny
# ones; changes to what costs little.
SPEAKERS = ("data.label={label}_{speaker}_{n}.wav", "data.sizes.train=16", "data.sizes.test=4")
SMALLER = ("evals.kshot.pixels=False", "evals.linear.pixels=False", "evals.linear.l2=0.01")
SMALLER += ("evals.kshot.labels=1", "evals.kshot_finetune.labels=1")
LAUNCHED = {
  "image": ("image_mim/mae", "", SMALLER),
  "text": ("masked_generative/md4", "text", ("data.length=16", "evals.bits.draws=2")),
  "sound": ("tf_mask_separation/conv_tasnet", "mixtures", ("data.length=1000", *SPEAKERS)),
  "graph": ("graph_3d_tabular_series_mim/bandana", "graph", ("model.depth=2",)),
  "weights": ("base/magnitude", "", ()),
}


@pytest.mark.parametrize("kind", LAUNCHED)
def test_a_smoke_of_each_kind_trains_and_shows_its_masks(kind, tmp_path, paths, capsys):
  """With all the evaluators of `laptop`."""
  place, own, changes = LAUNCHED[kind]
  file = ROOT / "configs" / f"{place}.py"
  evals = lab.read(f"{file}:laptop").evals
  used = [name for name, section in evals.items() if section.get("every", 0) >= 0]
  words = [f"evals.{name}.every=0" for name in used] + list(changes)
  words += [f"data.name={own}", f"data.path={paths[own]}"] if own else []
  words = [f"--config={file}:smoke", *(f"--config.{word}" for word in words)]
  assert main(["launch.py", *words, f"--workdir={tmp_path}"]) == 0
  table = capsys.readouterr().out
  assert all(name in table for name in used if reports(evals[name]))
  assert (tmp_path / "checkpoints" / "2").is_dir()
  if kind != "weights":  # a classifier that hides nothing has no masks to show
    words += ["--config.job=view", f"--workdir={tmp_path / 'view'}"]
    assert main(["launch.py", *words]) == 0
    assert list((tmp_path / "view" / "views").glob("*.png"))


def reports(section):
  """Whether an evaluator gives numbers, not pictures."""
  return section.fn.rpartition(".")[2] not in ("reconstruction", "samples")


def test_a_table_is_written_with_its_missing_cells_filled_in(tmp_path, table, capsys):
  file = ROOT / "configs" / "graph_3d_tabular_series_mim" / "remasker.py"
  own = f"--config={file}:smoke,data.name=table,data.path={table},data.missing=None"
  for job in ("train", "generate"):
    assert main(["launch.py", own, f"--workdir={tmp_path}", f"--config.job={job}"]) == 0
  given, filled = (
    path.read_text().splitlines() for path in (table, tmp_path / "views" / "00000002_filled.csv")
  )
  assert filled[:-1] == given[:-1]
  first, middle, last = filled[-1].split(",")
  assert (first, last) == ("1", "2")
  assert 0 <= float(middle) <= 6
