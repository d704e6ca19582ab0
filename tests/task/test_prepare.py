"""Statistics before step 0: squared gradients against a loop and the public code, bounded, kept."""

import functools
import pathlib
import runpy
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

from maskjax import select, weights
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.base import Task
from maskjax.task.prepare import Statistic, measure, prepared, squared_gradients

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "fish_mask.safetensors"
CHECK = str(pathlib.Path(__file__).with_name("check_prepare.py"))
task_of = runpy.run_path(str(pathlib.Path(__file__).with_name("toy_configs.py")))["task_of"]
KEY, BATCH, CLASSES = jax.random.key(0), 6, 3


@functools.cache
def small():
  """A residual network with batch normalisation, its variables, three batches; all drawn."""

  def change(c):
    c.model = dict(fn="model.resnet", depth=8, width=4)

  task = task_of("supervised", Record("image", (6, 6, 1), {"train": 18}, tuple("abc")), change)
  rng = np.random.default_rng(0)
  batches = [
    {
      "image": rng.normal(size=(BATCH, 6, 6, 1)).astype(np.float32),
      "label": rng.integers(0, CLASSES, BATCH).astype(np.int32),
      "position": np.arange(BATCH, dtype=np.int32),
    }
    for _ in range(3)
  ]

  def draw(path, leaf):
    x = rng.normal(size=leaf.shape)
    wide = 1 / np.sqrt(max(np.prod(leaf.shape[:-1]), 1))
    drawn = {"scale": 1 + x / 4, "var": np.exp(x / 4), "kernel": x * wide}
    return np.float32(drawn.get(path[-1].key, x / 4))

  shapes = jax.eval_shape(task.init, KEY, batches[0])
  return task, jax.tree_util.tree_map_with_path(draw, shapes), batches


@functools.cache
def one_by_one():
  """The loop that it must equal: one example, one gradient, its square; of all the examples."""
  task, variables, batches = small()

  def gradient(one):
    def log_p(params):
      logits = task.answers["predict"](
        {**variables, "params": params}, {"image": one["image"][None]}
      )
      return jax.nn.log_softmax(logits)[0, one["label"]]

    return jax.grad(log_p)(variables["params"])

  flat = {k: np.concatenate([b[k] for b in batches]) for k in ("image", "label")}
  slopes = jax.jit(lambda flat: jax.lax.map(gradient, flat))(flat)
  return jax.tree.map(np.square, jax.device_get(slopes))


def mean_of(first, last):
  """What the loop finds of these examples."""
  return jax.tree.map(lambda x: x[first:last].mean(0), one_by_one())


def close(got, expected, **tolerance):
  near = functools.partial(np.testing.assert_allclose, **{"rtol": 1e-4, "atol": 1e-7, **tolerance})
  jax.tree.map(near, dict(got), dict(expected))


@pytest.mark.parametrize(("examples", "at_once"), [(1, 8), (BATCH, 1), (10, 4), (18, 3)])
def test_each_gradient_is_squared_before_the_mean(examples, at_once):
  task, variables, batches = small()
  found = squared_gradients(task=task, examples=examples, at_once=at_once)
  got = measure(found, variables, iter(batches))
  close(got, mean_of(0, examples))


def test_it_is_not_the_square_of_the_mean_gradient():
  task, variables, batches = small()
  got = measure(squared_gradients(task=task, examples=BATCH), variables, iter(batches))

  def mean_log_p(params):
    logits = task.answers["predict"]({**variables, "params": params}, batches[0])
    return jax.nn.log_softmax(logits)[np.arange(BATCH), batches[0]["label"]].mean()

  square = jax.tree.map(np.square, jax.jit(jax.grad(mean_log_p))(variables["params"]))
  kernel = lambda tree: tree["encoder"]["block_01"]["conv1"]["kernel"]
  assert kernel(got).sum() > 1.5 * kernel(square).sum()


def golden():
  """The public code's network as a task, its variables, a batch of all examples, its results."""
  stored = load_file(GOLDEN)

  class Network(nn.Module):
    @nn.compact
    def __call__(self, image):
      maps = jnp.tanh(nn.Conv(4, (3, 3), padding=1, name="conv")(image))
      return nn.Dense(CLASSES, name="fc")(maps.mean((1, 2)))

  def ours(kind):
    part = lambda name: stored[f"{kind}/{name}"].astype(np.float32)
    conv = {"kernel": part("conv.weight").transpose(2, 3, 1, 0), "bias": part("conv.bias")}
    return {"conv": conv, "fc": {"kernel": part("fc.weight").T, "bias": part("fc.bias")}}

  image = stored["images"].transpose(0, 2, 3, 1)
  count = len(image)
  batch = {"image": image, "label": stored["labels"], "position": np.arange(count)}
  predict = lambda variables, batch: Network().apply(variables, batch["image"])
  return Task(init=None, loss=None, answers={"predict": predict}), ours, batch, count


@pytest.mark.parametrize("labels", ["data", "model"])
def test_the_public_codes_importances_are_n_times_ours(labels):
  task, ours, batch, count = golden()
  found = squared_gradients(task=task, examples=count, labels=labels)
  got = measure(found, {"params": ours("params")}, iter([batch]))
  close(jax.tree.map(lambda x: count * x, got), ours(labels))


def test_the_public_codes_mask_is_ours_its_head_counted():
  task, ours, batch, count = golden()
  params, mask = ours("params"), ours("mask")
  got = measure(squared_gradients(task=task, examples=count), {"params": params}, iter([batch]))
  sizes = {name: sum(x.size for x in part.values()) for name, part in params.items()}
  free = int(0.4 * sum(sizes.values())) - sizes["fc"]
  where = {"conv": {"kernel": True, "bias": True}, "fc": {"kernel": False, "bias": False}}
  choose = functools.partial(select.top, count=sizes["conv"] - free)
  tx = weights.update_only(optax.sgd(0.1), score=weights.fisher, select=choose, where=where)
  begin = lambda params, got: weights.masks(tx.init(params, squared_gradients=got))
  hidden = jax.device_get(jax.jit(begin)(params, got))
  assert 0 < free < sizes["conv"]
  for name in ("kernel", "bias"):
    np.testing.assert_array_equal(~hidden["conv"][name], mask["conv"][name] == 1)
    assert hidden["fc"][name] is None
    assert (mask["fc"][name] == 1).all()


def mean_label():
  """A statistic of another kind: how often each label occurs."""
  begin = lambda variables: jnp.zeros(CLASSES)
  count = lambda total, variables, batch, counts: (
    total + jnp.bincount(batch["label"], weights=counts.astype(jnp.float32), length=CLASSES)
  )
  return Statistic(8, begin, count, lambda total: total / 8)


def test_any_statistic_lies_with_the_variables_and_training_leaves_it_alone():
  task, variables, batches = small()
  both = prepared(task, share=mean_label(), squares=squared_gradients(task=task, examples=4))
  begun = jax.jit(lambda key, batch: both.init(key, batch)["prepared"])(KEY, batches[0])
  assert (begun["share"] == 0).all()
  ready = both.prepare({**variables, "prepared": begun}, iter(batches))
  shapes = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  assert shapes(ready) == shapes(jax.eval_shape(both.init, KEY, batches[0]))
  labels = np.concatenate([b["label"] for b in batches])[:8]
  np.testing.assert_allclose(
    ready["prepared"]["share"], np.bincount(labels, minlength=CLASSES) / 8, rtol=1e-6
  )
  # Each begins where the one before stopped to read.
  close(ready["prepared"]["squares"], mean_of(12, 16))
  losses = jax.jit(lambda *given: (task.loss(variables, *given), both.loss(ready, *given)))
  plain, told = losses(batches[0], KEY, 0)
  jax.tree.map(np.testing.assert_array_equal, told, plain)


def test_what_the_task_prepares_itself_goes_first():
  task, variables, batches = small()
  own = task._replace(prepare=lambda variables, batches: {**variables, "own": next(batches)})
  ready = prepared(own, share=mean_label()).prepare(
    {**variables, "prepared": {}}, iter([*batches, batches[0]])
  )
  np.testing.assert_array_equal(ready["own"]["label"], batches[0]["label"])
  labels = np.concatenate([batches[1]["label"], batches[2]["label"][:2]])
  np.testing.assert_allclose(
    ready["prepared"]["share"], np.bincount(labels, minlength=CLASSES) / 8, rtol=1e-6
  )


@pytest.mark.parametrize(
  ("given", "says"),
  [
    ({"examples": 0}, "needs examples"),
    ({"examples": 19}, "end 1 examples before the 19"),
    ({"labels": "modle"}, "did you mean 'model'"),
    ({"at_once": 0}, "at_once"),
  ],
)
def test_what_cannot_be_measured_is_refused(given, says):
  task, variables, batches = small()

  def ready():
    made = prepared(task, squares=squared_gradients(task=task, **given))
    return made.prepare({**variables, "prepared": {}}, iter(batches))

  with pytest.raises(BadInput, match=says):
    ready()
  with pytest.raises(BadInput, match="squared_gradients needs predict"):
    squared_gradients(task=task._replace(answers={}))


def test_one_device_and_eight_find_the_same_masks():
  command = [sys.executable, "-c", f"import runpy; runpy.run_path({CHECK!r}, run_name='__main__')"]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr[-3000:]
