"""A package outside the checkout brings a score, a schedule, a hider, a loss, a kind of data."""

import json
import pathlib
import shutil
import sys

import numpy as np
import pytest

from maskjax import lab
from maskjax.cli import main
from maskjax.data import pipeline
from maskjax.data.__main__ import describe
from maskjax.errors import BadInput
from maskjax.train.checkpoints.load import load

CLOUDS = np.random.default_rng(0).random((8, 6, 3)).astype(np.float32)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
  """The package in an empty folder on the path, and a file of clouds."""
  shutil.copytree(pathlib.Path(__file__).with_name("elsewhere"), tmp_path / "elsewhere")
  np.save(tmp_path / "clouds.npy", CLOUDS)
  monkeypatch.chdir(tmp_path)
  # Before tests/, where a package of the same name lies.
  monkeypatch.syspath_prepend(str(tmp_path))
  for name in [n for n in sys.modules if n.partition(".")[0] == "elsewhere"]:
    monkeypatch.delitem(sys.modules, name)
  yield tmp_path
  for name in [n for n in sys.modules if n.partition(".")[0] == "elsewhere"]:
    del sys.modules[name]


def test_all_its_parts_are_found_by_name(elsewhere, capsys):
  place = "elsewhere/denoise.py"
  # What `python -m maskjax.data clouds.npy name=elsewhere.clouds:read` says.
  told = describe("elsewhere.clouds:read", "clouds.npy", {})
  assert "elsewhere.clouds:cloud, shape (6, 3)\ntrain: 8 examples" in told

  flags = [f"--config={place}:laptop", "--workdir=run", "--config.data.path=clouds.npy"]
  assert main(["launch.py", *flags]) == 0, capsys.readouterr().err
  assert sys.modules["elsewhere.parts"].__file__ == str(elsewhere / "elsewhere" / "parts.py")

  # Its kind is about the middle, its score the height, its hider minus, its loss the cube.
  x = CLOUDS - CLOUDS.mean(axis=1, keepdims=True)
  rank = np.argsort(np.argsort(-x[..., 2], axis=-1), axis=-1)
  expected = [(np.abs(2 * x[rank < count]) ** 3).mean() for count in (2, 4)]  # its schedule
  rows = map(json.loads, (elsewhere / "run" / "metrics.jsonl").read_text().splitlines())
  found = [row["train/loss"] for row in rows if "train/loss" in row]
  np.testing.assert_allclose(found, expected, rtol=1e-5)

  with pytest.raises(BadInput, match="'elsewhere', which is not trusted"):
    load(elsewhere / "run")
  loaded = load(elsewhere / "run", trust=("elsewhere",))
  features = loaded.apply(loaded.variables, loaded.preprocess(list(CLOUDS)))
  np.testing.assert_allclose(features["max"], x.max(axis=1), rtol=1e-5)

  # The library's smoke of it, on tiny data of its kind.
  data = lab.read(f"{place}:smoke").data.to_dict()
  assert pipeline.load(**data).record.kind == "elsewhere.clouds:cloud"
