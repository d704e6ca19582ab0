"""The graph of a classifier: its loss, its statistics, its logits, and what it refuses."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.base import total
from maskjax.train.state import State
from maskjax.train.step import make_step

KEY = jax.random.key(0)
HERE = pathlib.Path(__file__).parent
task_of = runpy.run_path(str(HERE / "toy_configs.py"))["task_of"]
begun = runpy.run_path(str(HERE / "toy_weights.py"))["begun"]
MODELS = {
  "resnet": dict(fn="model.resnet", depth=8, width=4),
  "group": dict(fn="model.resnet", depth=8, width=4, norm="group"),
  "vit": dict(fn="model.vit_classifier", patch=(4, 4), size="mu", width=16, depth=1, heads=2),
}
both = pytest.mark.parametrize("name", ["resnet", "vit"])


def record(kind="image", classes=5, shape=(8, 12, 2)):
  return Record(kind, shape, {"train": 8}, tuple(f"class {i}" for i in range(classes)))


def make(model, data=None):
  """The task of `supervised` with a tiny network and smoothed labels."""

  def change(c):
    c.model, c.losses.recover.smoothing = model, 0.1

  return task_of("supervised", data or record(), change)


@functools.cache
def build(name):
  """A tiny task, its batch of 8 and its variables."""
  task, rng = make(MODELS[name]), np.random.default_rng(0)
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
  task, batch, variables = build(name)
  grid = (8, 12) if name == "resnet" else (6,)

  @jax.jit
  def run(variables, batch):
    def value(params, batch):
      terms, aux = task.loss({**variables, "params": params}, batch, KEY, 3)
      return total(terms, task.weights), (terms["recover"], aux.variables)

    slopes = lambda batch: jax.value_and_grad(value, has_aux=True)(variables["params"], batch)
    padding = jnp.arange(8) >= 5
    image = jnp.where(padding[:, None, None, None], jnp.nan, batch["image"])
    apply = functools.partial(task.network.apply, train=True, mutable=["batch_stats"])
    hidden = jnp.zeros((2, *grid), bool).at[:, 2].set(True)
    # The row or the patch that is hidden.
    spoilt = image.at[:, 2].set(jnp.nan) if name == "resnet" else image.at[:, :4, 8:].set(jnp.nan)
    left = lambda x: [task.answers[k](variables, {"image": x[:2]}, hidden) for k in ANSWERS]
    return {
      "applied": apply(variables, batch["image"]),
      "whole": value(variables["params"], batch),
      "padded": slopes({**batch, "image": image, "valid": ~padding}),
      "short": slopes({name: x[:5] for name, x in batch.items()}),
      "predicted": task.answers["predict"](variables, batch),
      "bare": task.answers["predict"](variables, {"image": batch["image"][:3]}),
      "features": task.answers["features"](variables, batch)["mean"],
      "left": jax.lax.map(left, jnp.stack([image, spoilt])),
    }

  return batch, variables, jax.tree.map(np.asarray, run(variables, batch))


ANSWERS = ("predict", "features")


@both
def test_the_loss_is_the_cross_entropy_of_the_networks_logits(name):
  batch, _, got = found(name)
  (logits, new), (_, (term, moved)) = got["applied"], got["whole"]
  logs = logits - np.log(np.exp(logits.astype(np.float64)).sum(-1, keepdims=True))
  target = 0.9 * np.eye(5)[np.asarray(batch["label"])] + 0.1 / 5
  assert int(term.count) == 8
  np.testing.assert_allclose(term.sum, -(target * logs).sum(), rtol=1e-5)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
  jax.tree.map(close, dict(moved), new)


@pytest.mark.parametrize("name", MODELS)
def test_only_batch_statistics_couple_examples(name):
  task = make(MODELS[name])
  shapes = jax.eval_shape(task.init, KEY, build("vit")[1])
  assert task.coupled == ("batch_stats" in shapes) == (name == "resnet")
  if task.coupled:
    with pytest.raises(BadInput, match="couples the examples"):
      make_step(task, optax.adam(1e-2), accumulate=2)


@both
def test_only_batch_statistics_move(name):
  _, variables, got = found(name)
  _, (_, moved) = got["whole"]
  assert set(moved) == ({"batch_stats"} if name == "resnet" else set())
  for before, after in zip(
    jax.tree.leaves(variables.get("batch_stats", {})), jax.tree.leaves(moved), strict=True
  ):
    assert (np.asarray(before) != after).any()


@both
def test_padding_of_a_batch_counts_nowhere(name):
  *_, got = found(name)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
  jax.tree.map(close, got["padded"], got["short"])
  assert int(got["padded"][0][1][0].count) == 5


@both
def test_predictions_are_of_each_example_alone_and_deterministic(name):
  _, variables, got = found(name)
  logits = got["predicted"]
  assert (logits.shape, logits.dtype) == ((8, 5), np.float32)
  np.testing.assert_allclose(got["bare"], logits[:3], atol=1e-5)
  assert got["features"].ndim == 2
  head = jax.tree.map(np.asarray, variables["params"]["head"])
  np.testing.assert_allclose(got["features"] @ head["kernel"] + head["bias"], logits, atol=1e-5)


@both
def test_answers_are_of_what_is_left_to_see(name):
  """A mask lies over the network's own grid: pixels of a ResNet, patches of a ViT."""
  *_, got = found(name)
  for left in jax.tree.leaves(got["left"]):
    np.testing.assert_array_equal(left[0], left[1])
  predicted, features = got["left"]
  assert np.abs(predicted[0] - got["predicted"][:2]).max() > 1e-3
  assert np.abs(features["mean"][0] - got["features"][:2]).max() > 1e-3


def test_a_few_steps_of_the_loop_learn_the_batch():
  task, batch, _ = build("vit")
  step, tx = make_step(task, optax.adam(1e-2)), optax.adam(1e-2)
  begin = begun(jax.eval_shape(task.init, KEY, batch))

  @jax.jit
  def run(begin):
    state = State(jnp.int32(0), KEY, begin, tx.init(begin["params"]), {})
    return jax.lax.scan(lambda state, _: step(state, batch), state, None, 12)[1]["loss"]

  losses = np.asarray(run(begin))
  # A smoothed label costs 0.39 at least.
  assert losses[-1] - 0.39 < 0.5 * (losses[0] - 0.39)


@pytest.mark.parametrize(
  ("given", "model", "says"),
  [
    (record(kind="text", shape=(9,)), MODELS["resnet"], r"takes images \(h, w, c\)"),
    (record(classes=0), MODELS["vit"], "no field 'label'"),
    (record(), dict(fn="model.masked_decoder"), "the network 'network'"),
    (record(shape=(10, 12, 2)), MODELS["vit"], "size 10 of axis 0"),
  ],
)
def test_bad_input(given, model, says):
  batch = {k: x for k, x in build("vit")[1].items() if given.classes or k != "label"}
  with pytest.raises(BadInput, match=says):
    jax.eval_shape(make(model, given).init, KEY, batch)
