"""The task of a classifier: its loss, its statistics, its logits, and what it refuses."""

import functools

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
from maskjax.train.state import start
from maskjax.train.step import make_step

KEY = jax.random.key(0)
MODELS = {
  "resnet": functools.partial(resnet, depth=8, width=4),
  "group": functools.partial(resnet, depth=8, width=4, norm="group"),
  "vit": functools.partial(vit_classifier, patch=(4, 4), size="mu", width=16, depth=1, heads=2),
}
every_model = pytest.mark.parametrize("name", MODELS)


def record(kind="image", classes=5, shape=(8, 12, 2)):
  return Record(kind, shape, {"train": 8}, tuple(f"class {i}" for i in range(classes)))


@functools.cache
def build(name, **recovery):
  """A tiny task, its batch of 8 and its variables."""
  loss = functools.partial(recover.cross_entropy, **recovery)
  task = classify(record=record(), model=MODELS[name], recover=loss)
  image = jax.random.normal(jax.random.key(1), (8, 8, 12, 2))
  batch = {"image": image, "label": jnp.arange(8) % 5, "position": jnp.arange(8)}
  rng, shapes = np.random.default_rng(0), jax.eval_shape(task.init, KEY, batch)
  draw = lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) / 4, jnp.float32)
  variables = jax.tree.map(draw, shapes)
  if "batch_stats" in variables:
    variables["batch_stats"] = jax.tree.map(jnp.exp, variables["batch_stats"])
  return task, batch, variables


@every_model
def test_the_loss_is_the_cross_entropy_of_the_networks_logits(name):
  task, batch, variables = build(name, smoothing=0.1)
  apply = functools.partial(task.network.apply, train=True, mutable=["batch_stats"])
  both = lambda variables: (apply(variables, batch["image"]), task.loss(variables, batch, KEY, 3))
  (logits, new), (terms, aux) = jax.jit(both)(variables)
  target = optax.smooth_labels(jax.nn.one_hot(batch["label"], 5), 0.1)
  expected = optax.softmax_cross_entropy(logits, target)
  assert set(terms) == {"recover"}
  assert int(terms["recover"].count) == 8
  np.testing.assert_allclose(terms["recover"].sum, expected.sum(), rtol=1e-5)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
  jax.tree.map(close, dict(aux.variables), new)


@every_model
def test_only_batch_statistics_couple_examples_and_move(name):
  task, batch, variables = build(name)
  assert task.coupled == ("batch_stats" in variables) == (name == "resnet")
  _, aux = jax.jit(task.loss)(variables, batch, KEY, 0)
  assert set(aux.variables) == ({"batch_stats"} if task.coupled else set())
  for before, after in zip(
    jax.tree.leaves(variables.get("batch_stats", {})),
    jax.tree.leaves(aux.variables),
    strict=True,
  ):
    assert (np.asarray(before) != np.asarray(after)).any()


def test_an_argument_of_the_loss_that_moves_follows_the_step():
  def scaled(logits, target, asked, *, scale):
    del target
    return Term(scale * logits.sum(), asked.sum())

  moving = functools.partial(scaled, scale=bind.Moving(lambda step: 0.5 * step))
  task = classify(record=record(), model=MODELS["vit"], recover=moving)
  _, batch, variables = build("vit")
  expected = 2 * jax.jit(task.predict)(variables, batch).sum()
  np.testing.assert_allclose(
    jax.jit(task.loss)(variables, batch, KEY, 4)[0]["recover"].sum, expected, rtol=1e-4
  )


@every_model
def test_padding_of_a_batch_counts_nowhere(name):
  task, batch, variables = build(name)
  short = {k: v[:5] for k, v in batch.items()}
  padding = jnp.arange(8) >= 5
  image = jnp.where(padding[:, None, None, None], jnp.nan, batch["image"])
  padded = {**batch, "image": image, "valid": ~padding}

  @jax.jit
  def value(params, batch):
    terms, aux = task.loss({**variables, "params": params}, batch, KEY, 0)
    return total(terms, task.weights), (terms["recover"].count, aux.variables)

  grad = jax.value_and_grad(value, has_aux=True)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
  jax.tree.map(close, grad(variables["params"], padded), grad(variables["params"], short))


@every_model
def test_predictions_are_of_each_example_alone_and_deterministic(name):
  task, batch, variables = build(name)
  predict = jax.jit(task.predict)
  logits = predict(variables, batch)
  assert (logits.shape, logits.dtype) == ((8, 5), np.float32)
  np.testing.assert_array_equal(logits, predict(variables, {"image": batch["image"]}))
  some = predict(variables, {"image": batch["image"][:3]})
  np.testing.assert_allclose(some, logits[:3], atol=1e-5)
  pooled = jax.jit(task.features)(variables, batch)["mean"]
  assert pooled.ndim == 2
  head = variables["params"]["head"]
  np.testing.assert_allclose(pooled @ head["kernel"] + head["bias"], logits, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_a_few_steps_of_the_loop_learn_the_batch(name):
  task, batch, _ = build(name)
  tx = optax.adam(1e-2)
  state = start(task, tx, KEY, batch, ema=False)
  step = jax.jit(make_step(task, tx))
  losses = []
  for _ in range(12):
    state, metrics = step(state, batch)
    losses.append(float(metrics["loss"]))
  assert losses[-1] < 0.5 * losses[0]
  if task.coupled:
    with pytest.raises(BadInput, match="couples the examples"):
      make_step(task, tx, accumulate=2)


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
