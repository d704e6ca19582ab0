"""A kind of data of another package: planned, read, viewed, generated, loaded like those here."""

import json
import sys

import jax
import numpy as np
import pytest

from maskjax import reduce
from maskjax.data import kinds, pipeline, tiny
from maskjax.data.kinds import Kind, Ready, array
from maskjax.record import Record
from maskjax.task.answers import offered
from maskjax.task.base import Aux, Task
from maskjax.train import run
from maskjax.train.checkpoints.load import load
from maskjax.train.plan.program import make
from maskjax.view import reconstruction

CLOUD = "clouds:cloud"
SCALE = dict(kind=CLOUD, shape=(6, 3), examples=8)
CONFIG = dict(
  job="train", seed=0, batch_size=4, total_steps=1, log=dict(every=1),
  task=dict(fn="clouds:centre"), data=dict(name="clouds:read", points=6, test=""),
  optimizer=dict(fn="adamw", learning_rate=1e-2), checkpoint=dict(every=1, keep=1),
)  # fmt: skip


def drawn(scale, size, rng):
  return {"points": rng.random((size, *scale["shape"])).astype(np.float32)}


def centred(record, source, *, mean=None):
  """Points about their mean."""
  mean = np.float32(np.mean(source[0]["points"]) if mean is None else mean[0])
  finish = lambda batch: {**batch, "points": batch["points"] - mean}
  return Ready(Record(record.kind, record.shape, record.sizes, mean=(float(mean),)), finish=finish)


def dotted(views, record):
  """As many white pixels as points are hidden."""
  assert record.kind == CLOUD
  picture = np.zeros((16, 16, 3), np.uint8)
  picture[0, : int(np.asarray(views["hidden"]).sum())] = 255
  return picture


cloud = Kind(
  axes=("points", "coordinates"),
  shapes=lambda scale: {"points": array(np.float32, *scale["shape"])},
  tiny=drawn,
  facts=lambda scale: {"mean": (0.5,)},
  ready=centred,
  preprocess=lambda clouds, record: {"points": np.stack(clouds) - np.float32(record.mean[0])},
  masks="clouds:dotted",
  reconstruction="clouds:dotted",
  generate="clouds:written",
)


def read(path, *, points=6):
  """Eight clouds, of which one is drawn."""
  clouds = drawn(dict(shape=(points, 3)), 8, np.random.default_rng(1))["points"]
  return Record(CLOUD, (points, 3), {"train": 8}), {"train": [{"points": x} for x in clouds]}


def centre(record):
  """A point that lies nearest to all others; every other one is hidden."""

  def init(key, batch):
    return {"params": {"centre": jax.random.normal(key, (record.shape[-1],))}}

  def loss(variables, batch, key, step):
    error = (batch["points"] - variables["params"]["centre"]) ** 2
    return {"loss": reduce.Term(error.sum(), np.float32(error.size))}, Aux()

  hidden = np.arange(record.shape[0]) % 2 == 0
  views = lambda variables, batch, key: {"hidden": np.tile(hidden, (len(batch["points"]), 1))}
  features = lambda variables, batch: {"mean": batch["points"].mean(axis=1)}
  return Task(init, loss, answers=offered(views=views, features=features))


def written(parts, seed, folder, step, state):
  return f"{parts.data.record.kind} of seed {seed} after {step} step in {folder.name}"


@pytest.fixture(autouse=True)
def package(monkeypatch):
  monkeypatch.setitem(sys.modules, "clouds", sys.modules[__name__])


def test_it_has_a_scale():
  assert kinds.find(CLOUD) is cloud
  assert tiny.record(SCALE).kind == CLOUD
  said = {name: (x.shape, x.dtype) for name, x in tiny.shapes(SCALE, 2).items()}
  assert {name: (x.shape, x.dtype) for name, x in tiny.batch(SCALE, 2).items()} == said
  assert said["points"] == ((2, 6, 3), np.float32)


def test_it_is_read_and_takes_options_of_its_own():
  data = pipeline.load(**CONFIG["data"], mean=(0.25,))
  batch = next(pipeline.batches(data, batch_size=8, seed=0))
  stored = np.stack([example["points"] for example in data.splits["train"]])
  np.testing.assert_allclose(np.sort(batch["points"], None), np.sort(stored - 0.25, None))
  with pytest.raises(
    ValueError, match=r"data.std is not for data of kind clouds:cloud.*known: mean"
  ):
    pipeline.load(**CONFIG["data"], std=(1.0,))


def test_it_is_planned():
  config = {**CONFIG, "data": {**CONFIG["data"], "points": 5}, "mesh": dict(preset="fsdp")}
  step = make(config, dict(scale=SCALE), jax.devices()[:1] * 4)
  assert step.batch["points"].shape == (4, 5, 3)
  assert step.state.variables["params"]["centre"].shape == (3,)


def test_it_is_trained_viewed_written_and_loaded(tmp_path):
  assert "masks: " in run.run({**CONFIG, "job": "view"}, tmp_path)
  run.run(CONFIG, tmp_path)
  assert json.loads((tmp_path / "record.json").read_text())["kind"] == CLOUD
  told = run.run({**CONFIG, "job": "generate"}, tmp_path)
  assert told == f"{CLOUD} of seed 0 after 1 step in {tmp_path.name}"
  loaded, raw = load(tmp_path, trust=("clouds",)), [np.full((6, 3), 2.0, np.float32)]
  found = loaded.apply(loaded.variables, loaded.preprocess(raw))["mean"]
  mean = pipeline.load(**CONFIG["data"]).record.mean[0]
  np.testing.assert_allclose(found, np.full((1, 3), 2 - mean), rtol=1e-6)


def test_its_reconstructions_are_drawn():
  picture = reconstruction.draw({"hidden": np.ones((2, 3), bool)}, tiny.record(SCALE))
  assert (picture == 255).all(-1).sum() == 6
