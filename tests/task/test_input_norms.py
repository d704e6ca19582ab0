"""Norms of the inputs of dense layers, against the public code, a loop, and what it refuses."""

import pathlib
import runpy

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_text as toy
from safetensors.numpy import load_file

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.reduce import term
from maskjax.task.base import Aux, Task
from maskjax.task.prepare import input_norms, measure

HERE = pathlib.Path(__file__).parent
GOLDEN = load_file(HERE.parent / "golden" / "maskllm.safetensors")
begun = runpy.run_path(str(HERE / "toy_weights.py"))["begun"]
KEY = jax.random.key(0)


def one_layer(cut=lambda x: x):
  """A task of one dense layer, after `cut` has reshaped what it meets."""

  class Network(nn.Module):
    @nn.compact
    def __call__(self, x):
      return nn.Dense(6, name="dense")(cut(x))

  network = Network()

  def loss(variables, batch, key, step):
    out = network.apply(variables, batch["x"])
    return {"sum": term(out, jnp.ones(out.shape, bool))}, Aux()

  init = lambda key, batch: network.init(key, batch["x"])
  return Task(init=init, loss=loss, network=network)


def begin(x):
  """Variables of one layer."""
  kernel = np.random.default_rng(0).normal(size=(x.shape[-1], 6)).astype(np.float32)
  params = {"dense": {"kernel": kernel, "bias": np.zeros(6, np.float32)}}
  return jax.device_put({"params": params})


def batches(x, size):
  for i in range(0, len(x), size):
    part = x[i : i + size]
    yield {"x": part, "position": np.arange(len(part), dtype=np.int32)}


@pytest.mark.parametrize("size", [1, 5])
def test_norms_are_those_of_the_public_code(size):
  task, x = one_layer(), GOLDEN["inputs"]
  found = measure(input_norms(task=task, examples=5), begin(x), batches(x, size))
  np.testing.assert_allclose(found["dense"]["kernel"][:, 0], GOLDEN["norms"], rtol=1e-5)
  np.testing.assert_array_equal(found["dense"]["bias"], [1.0])


def test_only_so_many_examples_count():
  task, x = one_layer(), np.random.default_rng(0).normal(size=(8, 3, 16)).astype(np.float32)
  found = measure(input_norms(task=task, examples=6), begin(x), batches(x, 4))
  expected = np.sqrt(np.square(x[:6]).sum((0, 1)) / 6)
  np.testing.assert_allclose(found["dense"]["kernel"][:, 0], expected, rtol=1e-5)


def test_every_dense_layer_of_a_transformer_is_met_and_all_else_left_alone():
  record = Record("text", (5,), {"train": 4}, vocabulary=tuple("abc"))
  task = toy.task_of("causal_lm", record, dict(width=8, depth=2, heads=2, mlp=12))
  batch = {"tokens": np.ones((4, 5), np.int32), "valid": np.ones((4, 5), bool)}
  batch["position"] = np.arange(4, dtype=np.int32)
  variables = begun(jax.eval_shape(task.init, KEY, batch))
  found = measure(input_norms(task=task, examples=4), variables, iter([batch]))
  assert found["block_00"]["mlp"]["down"]["kernel"].shape == (12, 1)
  assert found["block_01"]["attention"]["qkv"]["kernel"].shape == (8, 1)
  for path, leaf in jax.tree_util.tree_leaves_with_path(found):
    if path[-1].key == "kernel":
      assert (leaf > 0).all()
    else:
      np.testing.assert_array_equal(leaf, np.ones((1,) * leaf.ndim))
  # What feeds queries, keys and values is normalised: its squares add up to its width, a position.
  norms = found["block_00"]["attention"]["qkv"]["kernel"]
  np.testing.assert_allclose(np.square(norms).sum(), 5 * 8, rtol=0.02)
  # However training meets its layers.
  sizes = dict(width=8, depth=2, heads=2, mlp=12, scan=True, remat=True)
  looped = toy.task_of("causal_lm", record, sizes)
  same = measure(input_norms(task=looped, examples=4), variables, iter([batch]))
  jax.tree.map(np.testing.assert_array_equal, same, found)
  assert looped.network.remat


def test_what_cannot_be_looked_into_is_named():
  x = np.ones((4, 3, 16), np.float32)
  flat = one_layer(lambda x: x.reshape(-1, x.shape[-1]))
  with pytest.raises(BadInput, match="is met by"):
    measure(input_norms(task=flat, examples=4), begin(x), batches(x, 4))
  task = one_layer()
  variables = begin(x)
  variables["params"]["other"] = {"kernel": np.ones((2, 2), np.float32)}
  with pytest.raises(BadInput, match="no dense layer with the weights other/kernel"):
    measure(input_norms(task=task, examples=4), variables, batches(x, 4))
