"""The task of a classifier: its loss, its statistics, its logits, and what it refuses."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import bind, recover
from maskjax.errors import BadInput
from maskjax.model import masked_autoencoder, resnet, vit_classifier
from maskjax.record import Record
from maskjax.reduce import Term
from maskjax.task import classify
from maskjax.task.base import total
from maskjax.train.state import State
from maskjax.train.step import make_step

KEY = jax.random.key(0)
begun = runpy.run_path(str(pathlib.Path(__file__).with_name("toy_weights.py")))["begun"]
MODELS = {
  "resnet": functools.partial(resnet, depth=8, width=4),
  "group": functools.partial(resnet, depth=8, width=4, norm="group"),
  "vit": functools.partial(vit_classifier, patch=(4, 4), size="mu", width=16, depth=1, heads=2),
}
every_model = pytest.mark.parametrize("name", MODELS)


def record(kind="image", classes=5, shape=(8, 12, 2)):
  return Record(kind, shape, {"train": 8}, tuple(f"class {i}" for i in range(classes)))


@functools.cache
def build(name, smoothing=0.0):
  """A tiny task, its batch of 8 and its variables."""
  loss = functools.partial(recover.cross_entropy, smoothing=smoothing)
  task = classify(record=record(), model=MODELS[name], recover=loss)
  rng = np.random.default_rng(0)
  image = rng.normal(size=(8, 8, 12, 2)).astype(np.float32)
  batch = jax.device_put({"image": image, "label": np.arange(8) % 5, "position": np.arange(8)})
  shapes = jax.eval_shape(task.init, KEY, batch)
  variables = jax.tree.map(lambda x: (rng.normal(size=x.shape) / 4).astype(x.dtype), shapes)
  if "batch_stats" in variables:
    variables["batch_stats"] = jax.tree.map(np.exp, variables["batch_stats"])
  return task, batch, jax.device_put(variables)


@functools.cache
def found(name):
  """Losses, slopes, statistics, logits and features of a batch and of parts of it."""
  task, batch, variables = build(name, smoothing=0.1)
  tx = optax.adam(1e-2)

  @jax.jit
  def run(variables, batch):
    def value(params, batch):
      terms, aux = task.loss({**variables, "params": params}, batch, KEY, 3)
      return total(terms, task.weights), (terms["recover"], aux.variables)

    slopes = lambda batch: jax.value_and_grad(value, has_aux=True)(variables["params"], batch)
    padding = jnp.arange(8) >= 5
    image = jnp.where(padding[:, None, None, None], jnp.nan, batch["image"])
    apply = functools.partial(task.network.apply, train=True, mutable=["batch_stats"])
    step = make_step(task, tx)
    state = State(jnp.int32(0), KEY, begin, tx.init(begin["params"]), {})
    losses = jax.lax.scan(lambda state, _: step(state, batch), state, None, 12)[1]["loss"]
    return {
      "applied": apply(variables, batch["image"]),
      "whole": value(variables["params"], batch),
      "padded": slopes({**batch, "image": image, "valid": ~padding}),
      "short": slopes({name: x[:5] for name, x in batch.items()}),
      "predicted": task.answers["predict"](variables, batch),
      "bare": task.answers["predict"](variables, {"image": batch["image"][:3]}),
      "features": task.answers["features"](variables, batch)["mean"],
      "losses": losses if name != "group" else jnp.zeros(12),
    }

  begin = begun(jax.eval_shape(task.init, KEY, batch))
  return batch, variables, jax.tree.map(np.asarray, run(variables, batch))


@every_model
def test_the_loss_is_the_cross_entropy_of_the_networks_logits(name):
  batch, _, got = found(name)
  (logits, new), (_, (term, moved)) = got["applied"], got["whole"]
  logs = logits - np.log(np.exp(logits.astype(np.float64)).sum(-1, keepdims=True))
  target = 0.9 * np.eye(5)[np.asarray(batch["label"])] + 0.1 / 5
  assert int(term.count) == 8
  np.testing.assert_allclose(term.sum, -(target * logs).sum(), rtol=1e-5)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
  jax.tree.map(close, dict(moved), new)


@every_model
def test_only_batch_statistics_couple_examples_and_move(name):
  (task, *_), (_, variables, got) = build(name, smoothing=0.1), found(name)
  assert task.coupled == ("batch_stats" in variables) == (name == "resnet")
  _, (_, moved) = got["whole"]
  assert set(moved) == ({"batch_stats"} if task.coupled else set())
  for before, after in zip(
    jax.tree.leaves(variables.get("batch_stats", {})), jax.tree.leaves(moved), strict=True
  ):
    assert (np.asarray(before) != after).any()


def test_an_argument_of_the_loss_that_moves_follows_the_step():
  def scaled(logits, target, asked, *, scale):
    del target
    return Term(scale * logits.sum(), asked.sum())

  moving = functools.partial(scaled, scale=bind.Moving(lambda step: 0.5 * step))
  task = classify(record=record(), model=MODELS["vit"], recover=moving)
  _, batch, variables = build("vit", smoothing=0.1)
  got = jax.jit(task.loss)(variables, batch, KEY, 4)[0]["recover"].sum
  np.testing.assert_allclose(got, 2 * found("vit")[2]["predicted"].sum(), rtol=1e-4)


@every_model
def test_padding_of_a_batch_counts_nowhere(name):
  *_, got = found(name)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
  jax.tree.map(close, got["padded"], got["short"])
  assert int(got["padded"][0][1][0].count) == 5


@every_model
def test_predictions_are_of_each_example_alone_and_deterministic(name):
  _, variables, got = found(name)
  logits = got["predicted"]
  assert (logits.shape, logits.dtype) == ((8, 5), np.float32)
  np.testing.assert_allclose(got["bare"], logits[:3], atol=1e-5)
  assert got["features"].ndim == 2
  head = jax.tree.map(np.asarray, variables["params"]["head"])
  np.testing.assert_allclose(got["features"] @ head["kernel"] + head["bias"], logits, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_a_few_steps_of_the_loop_learn_the_batch(name):
  losses = found(name)[2]["losses"]
  # A smoothed label costs 0.39 at least.
  assert losses[-1] - 0.39 < 0.5 * (losses[0] - 0.39)
  task = build(name, smoothing=0.1)[0]
  if task.coupled:
    with pytest.raises(BadInput, match="couples the examples"):
      make_step(task, optax.adam(1e-2), accumulate=2)


@pytest.mark.parametrize(
  ("given", "model", "says"),
  [
    (record(kind="text"), "resnet", "^classify takes images, the data set holds text$"),
    (record(classes=0), "resnet", "^classify needs labels, and this data set has none$"),
    (record(), "mae", "^classify needs a model of classes, masked_autoencoder takes none$"),
    (record(), "bare", "^vit_classifier needs patch; classify offers classes, record_shape$"),
    (record(shape=(10, 12, 2)), "vit", "size 10 of axis 0"),
  ],
)
def test_bad_input(given, model, says):
  bare = functools.partial(vit_classifier)
  models = {**MODELS, "mae": functools.partial(masked_autoencoder, patch=(4, 4)), "bare": bare}
  loss = functools.partial(recover.cross_entropy)
  with pytest.raises(BadInput, match=says):
    classify(record=given, model=models[model], recover=loss)
