"""Evaluators on the tasks of configs, against what the tasks themselves say of the same batch."""

import pathlib

import jax
import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from maskjax import lab
from maskjax.data import captions
from maskjax.keys import keys, stream
from maskjax.recover import si_snr
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.checkpoints.load import load
from maskjax.train.evaluators import samples
from maskjax.train.evaluators.latent_prediction import rank, spread
from maskjax.train.evaluators.link_prediction import unjoined
from maskjax.train.evaluators.samples import make
from maskjax.train.run import plain
from maskjax.train.workdirs.workdir import write_config, write_record
from maskjax.view.reconstruction import reconstruction

distance = __import__("maskjax.train.evaluators.frechet", fromlist=["distance"]).distance
CONFIGS = pathlib.Path(__file__).parents[3] / "configs"
KEY = stream(jax.random.key(0), "it")


def whole(made, split="test"):
  """All of a split in one batch that it fills, as evaluators ask for it."""
  size = made.context.record.sizes[split]
  (batch,) = made.context.examples(split, size)
  return {**batch, "position": np.arange(size, dtype=np.int32)}


def looked(made, batch, key=None):
  """The task's views of a batch, as numpy."""
  key = stream(KEY, "batch", 0) if key is None else key
  return jax.tree.map(np.asarray, made.views(made.context.variables, batch, key))


def test_classes_are_told_by_their_descriptions(measured, images):
  templates = ("a {name}", "the {name} of a")
  data = {**images, "captions": {"length": 6, "templates": templates}}
  options = {"templates": templates}
  made = measured("token_dropping/flip", "zero_shot", noise=0.5, data=data, options=options)
  there, record = made.context, made.context.record
  texts = [
    captions.fill_in(t, name=captions.spoken(n)) for n in record.class_names for t in templates
  ]
  placed = jax.jit(there.task.answers["describe"])(
    there.variables, captions.encode(texts, record, record.caption)
  )
  unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
  described = unit(np.asarray(placed, np.float64)).reshape(len(record.class_names), 2, -1)
  image, label = there.features("test", "shared")
  right = lambda means: ((image @ unit(means).T).argmax(-1) == label).mean()
  assert made.found == {"accuracy": right(described.mean(1)), "one": right(described[:, 0])}


def test_figures_are_the_tasks_own(measured, images):
  data = {**images, "captions": {"length": 6}}
  made = measured("token_dropping/flip", "scalars", data=data)
  assert made.found == {"temperature": 1.0}


def test_foreseen_losses_rank_as_the_losses_do(measured):
  pairs = {"shown": "predicted_loss", "hidden": "predicted_loss_masked"}
  data, of = {"size": (16, 16)}, {name: (guess, "loss") for name, guess in pairs.items()}
  options = {"batch_size": 32, "of": of}
  made = measured("image_mim/hpm", "correlation", noise=0.5, data=data, options=options)
  seen = looked(made, whole(made))
  for name, guess in pairs.items():
    both = [
      (a[there], b[there])
      for a, b in zip(seen[guess].reshape(32, -1), seen["loss"].reshape(32, -1), strict=True)
      if (there := np.isfinite(a) & np.isfinite(b)).any()
    ]
    ranks = [stats.spearmanr(a, b)[0] for a, b in both]
    assert made.found[name] == pytest.approx(np.mean(ranks), rel=1e-5)


def test_latents_cost_what_their_views_say(measured):
  options = {"batch_size": 32, "examples": 32}
  made = measured("base/ijepa", "latent_prediction", noise=0.5, options=options)
  features, _ = made.context.features("test", "mean")
  cost = looked(made, whole(made))["cost"]
  assert made.found["loss"] == pytest.approx(cost.mean(), rel=1e-5)
  assert made.found["spread"] == pytest.approx(spread(features))
  assert made.found["rank"] == pytest.approx(rank(features))


def test_edges_are_ranked_by_the_nodes_that_they_join(measured, paths):
  data = {"name": "graph", "path": str(paths / "graph.npz")}
  made = measured("graph_3d_tabular_series_mim/bandana", "link_prediction", noise=0.5, data=data)
  (batch,) = made.context.examples("graph", 1)
  x = np.asarray(made.context.encode(made.context.variables, batch)["last"])[0].astype(np.float64)
  size, edges, held = int(batch["size"][0]), batch["edges"][0], batch["held"][0]
  joined = np.concatenate([edges[edges[:, 1] < size], held])
  pairs = np.concatenate([held, unjoined(joined, size, len(held), 0)])
  product = (x[pairs[:, 0]] * x[pairs[:, 1]]).sum(1)
  known = np.arange(len(pairs)) < len(held)
  assert made.found["auc"] == pytest.approx(roc_auc_score(known, product))
  assert 0 < abs(made.found["gate"]) < 1
  assert set(made.pictures) == {"gates"}


def test_modalities_of_which_nothing_is_said_cost_their_values(measured, images):
  place, options = "multimodal_mim/multimae", {"batch_size": 12, "examples": 24, "pictured": 2}
  # Each decoder takes its time to compile: of one map.
  maps = {"segments": {"fn": "modalities.palette", "colors": 4}}
  one = lambda c: lab.load(CONFIGS / f"{place}.py").modalities(c, (2, 2), **maps)
  made = measured(place, "modalities", data=images, options=options, change=one)
  x = whole(made)["image"]
  mean = whole(made, "train")["image"].mean(0)
  ratio = (x**2).sum() / ((x - mean) ** 2).sum()
  assert made.found["segments/image"] == pytest.approx(ratio, rel=1e-3)
  seen = looked(made, whole(made))["modalities"]
  labels, classes = seen["segments"]["input"], seen["segments"]["prediction"].shape[-1]
  halves = [{k: v[i::2] for k, v in whole(made, "train").items()} for i in range(2)]
  before = [looked(made, half)["modalities"]["segments"]["input"] for half in halves]
  shares = np.stack([(np.concatenate(before) == c).mean(0) for c in range(classes)], -1).clip(1e-4)
  shares = np.broadcast_to(shares / shares.sum(-1, keepdims=True), (*labels.shape, classes))
  nats = -np.log(np.take_along_axis(shares, labels[..., None], -1)).mean()
  assert made.found["image/segments"] == pytest.approx(np.log(classes) / nats, rel=1e-3)
  for name, view in seen.items():
    shown = 1 - view["hidden"].mean((1, 2))
    assert made.found[f"shown/{name}"] == pytest.approx(shown.mean(), abs=1e-6)
    assert made.found[f"spread/{name}"] == pytest.approx(shown.std(), abs=1e-6)
  assert set(made.pictures) == {"modalities"}


def test_what_moves_is_seen_as_often_as_the_masks_show_it(measured):
  data = {"name": "motion", "frames": 4, "size": (16, 16)}
  made = measured("video_mim/adamae", "motion", noise=0.5, data=data, options={"batch_size": 512})
  batch = next(made.context.examples("test", 512))
  batch = {**batch, "position": np.arange(512, dtype=np.int32)}
  seen, valid = looked(made, batch)["seen"][batch["valid"]], batch["video"][batch["valid"]]
  cells = lambda x: x.reshape(len(x), 2, 2, 4, 4, 4, 4).transpose(0, 1, 3, 5, 2, 4, 6)
  flat = lambda x: cells(x[..., 0]).reshape(len(x), 2, 4, 4, -1)
  change = np.abs(np.diff(valid, axis=1)) > 0.25
  none = np.zeros_like(change[:, :1])
  moving = flat(np.concatenate([change, none], 1) | np.concatenate([none, change], 1)).any(-1)
  visible = ~flat(np.isnan(seen)).any(-1)
  assert made.found["share"] == pytest.approx(moving.mean())
  assert made.found["moving"] == pytest.approx(visible[moving].mean())
  assert made.found["still"] == pytest.approx(visible[~moving].mean())
  assert reconstruction(made.context, examples=2) == {}
  assert np.ptp(made.pictures["reconstruction"]) > 0


def test_silence_separates_nothing(measured, paths):
  data = {"name": "mixtures", "path": str(paths / "wavs"), "length": 600}
  data |= {"label": "{label}_{speaker}_{n}.wav", "sizes": {"train": 16, "test": 4}}
  data |= {"test_where": {"n": ("0", "1", "2")}}
  options = {"batch_size": 4, "examples": 1, "ideal": True}
  made = measured("tf_mask_separation/conv_tasnet", "separation", data=data, options=options)
  batch = whole(made)
  both = np.stack([batch["mixture"]] * 2, axis=1)
  before = np.asarray(jax.jit(si_snr)(both, batch["sources"])).mean()
  assert made.found["mixture"] == pytest.approx(before, abs=1e-3)
  assert made.found["si_snr"] == pytest.approx(-80, abs=1e-3)
  assert made.found["improvement"] == pytest.approx(-80 - before, abs=1e-3)
  assert made.found["gate"] == 0
  assert min(made.found[name] for name in ("binary", "ratio", "wiener")) > 5
  assert set(made.pictures) == {"separation"}


@pytest.fixture(scope="module")
def classifier(measured, images, tmp_path_factory):
  """The workdir of a classifier of drawn weights."""
  config = plain(lab.read(f"{CONFIGS}/base/supervised.py:smoke"))
  config["data"] |= images
  folder = tmp_path_factory.mktemp("classifier")
  made = measured("base/supervised", "accuracy", noise=0.5, data=images)
  with Checkpoints(folder) as checkpoints:
    checkpoints.save(1, {"state": {"variables": made.context.variables}})
  write_config(folder, config)
  write_record(folder, made.context.record)
  return folder


def test_made_images_are_as_far_as_their_features(measured, images, classifier):
  options = {"network": str(classifier), "examples": 12, "batch_size": 12}
  place, data = "masked_generative/mage", images
  made = measured(place, "frechet", noise=0.5, data=data, options=options)
  there, network, batch = made.context, load(classifier), whole(made)
  features = lambda x: np.asarray(network.apply(network.variables, {"image": x})["mean"], float)
  against = features(whole(made, "train")["image"])
  assert made.found["real"] == pytest.approx(distance(features(batch["image"]), against), rel=1e-3)
  drawn = keys(stream(KEY, "batch", 0), 12)
  given = {k: v for k, v in batch.items() if k != "valid"}
  image = make(there.task.answers["sample"], there.variables, drawn, given)["image"]
  (mean,), (std,) = there.record.mean, there.record.std
  image = (np.clip(np.asarray(image) * std + mean, 0, 1) - mean) / std
  assert made.found["distance"] == pytest.approx(distance(features(image), against), rel=1e-3)
  assert made.found["noise"] != made.found["real"]
  assert samples(there, examples=12, columns=4, stages=2) == {}
  assert {"samples", "decoding"} <= set(made.pictures)
