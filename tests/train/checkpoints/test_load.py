"""The Python door to a trained run."""

import functools
import json
import pathlib
import runpy
import shutil

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

import maskjax as mj
from maskjax import lab
from maskjax.data.tokens import decode
from maskjax.errors import BadInput
from maskjax.train import loop, run
from maskjax.train.checkpoints import load as door
from maskjax.train.checkpoints import verified
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.checkpoints.load import stored
from maskjax.train.setup.initial import snapshot
from maskjax.train.workdirs.workdir import read_record

load = functools.partial(door.load, trust=("toy_network",))
tiny = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "test_run.py"))["toy"]


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
  """A finished run with a moving average, the images of its test split, and its own features."""
  folder = tmp_path_factory.mktemp("trained")
  data = str(shutil.copy(tiny.data, folder))
  config = tiny.config({"ema": 0.5, "data.path": data, "total_steps": 4})
  run.train(config, folder / "run")
  parts = run.make_parts(config)
  _, tree = Checkpoints(folder / "run").restore(snapshot(parts.state, 0))
  context = loop.make_context(parts, tree["state"], 0, 4, print)
  features = {pooling: context.features("test", pooling)[0] for pooling in ("mean", "class")}
  images = [parts.data.splits["test"][i]["image"] for i in range(10)]
  pathlib.Path(data).unlink()  # only the workdir is left
  return folder / "run", images, features, tree["state"]


def test_the_python_door_stays_open():
  # Importing anything below maskjax.train makes the package an attribute of maskjax.
  assert callable(mj.load)
  assert callable(mj.train)


def test_features_are_those_of_the_run_without_its_data(trained):
  workdir, images, features, _ = trained
  loaded = load(workdir)
  got = loaded.apply(loaded.variables, loaded.preprocess(images))
  for pooling, expected in features.items():
    np.testing.assert_allclose(got[pooling], expected, atol=1e-5)
  again = loaded.apply(loaded.variables, loaded.preprocess(images))
  jax.tree.map(np.testing.assert_array_equal, dict(got), dict(again))


def test_the_weights_are_the_average_where_one_is_kept(trained):
  workdir, _, _, state = trained
  params = load(workdir).variables["params"]
  jax.tree.map(np.testing.assert_array_equal, dict(params), dict(state.ema["params"]))
  moved = jax.tree.map(
    lambda a, b: bool((a != b).any()), dict(params), dict(state.variables["params"])
  )
  assert any(jax.tree.leaves(moved))


def test_nothing_but_the_weights_is_read_from_a_url_too(trained, monkeypatch):
  workdir, _, _, state = trained
  read, asked = verified.parts, []

  def seen(path, record, wanted):
    asked.extend(wanted)
    return read(path, record, wanted)

  monkeypatch.setattr(verified, "parts", seen)
  for place in (workdir, workdir.as_uri()):
    asked.clear()
    variables = load(place).variables
    assert sorted(asked) == sorted(f"state/ema/{name}" for name in flatten_dict(state.ema, sep="/"))
    jax.tree.map(np.testing.assert_array_equal, dict(variables["params"]), state.ema["params"])


def test_an_earlier_step_is_loaded_on_request(trained):
  workdir, _, _, _ = trained
  different = jax.tree.map(
    lambda a, b: bool((a != b).any()), stored(workdir, step=2), stored(workdir)
  )
  assert any(jax.tree.leaves(different))
  with pytest.raises(BadInput, match=r"no checkpoint of step 3 .*there: 2, 4"):
    load(workdir, step=3)


def test_images_of_any_size_are_fitted_and_normalised_as_in_evaluation(trained):
  workdir, _, _, _ = trained
  loaded = load(workdir)
  record = read_record(workdir)
  grey = [np.full((*size, 1), 51, np.uint8) for size in ((8, 8), (20, 11), (5, 30))]
  batch = loaded.preprocess(grey)["image"]
  assert batch.shape == (3, 8, 8, 1)
  np.testing.assert_allclose(batch, (0.2 - record.mean[0]) / record.std[0], rtol=1e-5)


def test_what_is_no_run_is_said(tmp_path, trained):
  with pytest.raises(BadInput, match="holds no run"):
    load(tmp_path)
  for name in ("config.json", "record.json"):
    shutil.copy(trained[0] / name, tmp_path)
  with pytest.raises(BadInput, match="holds no checkpoint"):
    load(tmp_path)


def test_a_run_on_text_takes_texts(tmp_path):
  text = tmp_path / "text.txt"
  text.write_text("the quick brown fox jumps over the lazy dog. " * 40)
  config = lab.read("configs/base/causal_lm.py:smoke,data.name=text,data.length=16")
  config.data.path = str(text)
  run.train(config, tmp_path / "run")
  loaded = load(tmp_path / "run")
  texts = ["the quick", "over a lazy dog"]
  batch = loaded.preprocess(texts)
  record = read_record(tmp_path / "run")
  assert batch["tokens"].shape == batch["valid"].shape == (2, *record.shape)
  said = [decode(row[valid], record) for row, valid in zip(*batch.values(), strict=True)]
  assert said == texts
  both = loaded.apply(loaded.variables, batch)["mean"]
  alone = loaded.apply(loaded.variables, loaded.preprocess(texts[:1]))["mean"]
  np.testing.assert_allclose(both[:1], alone, atol=1e-5)
  with pytest.raises(BadInput, match=r"windows of"):
    loaded.preprocess(["the quick " * 99])


def test_a_config_of_a_stranger_imports_nothing_that_is_not_trusted(trained, tmp_path):
  config = json.loads((trained[0] / "config.json").read_text())
  config["let"] = {**config["let"], "place": {"fn": "os:getcwd"}}
  (tmp_path / "config.json").write_text(json.dumps(config))
  shutil.copy(trained[0] / "record.json", tmp_path)
  with pytest.raises(BadInput, match="'os', which is not trusted"):
    load(tmp_path)
  # Trusted, it is found, and the checkpoint is what is missing.
  with pytest.raises(BadInput, match="no checkpoint"):
    load(tmp_path, trust=("toy_network", "os"))
