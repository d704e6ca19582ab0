"""Residual networks written out by hand, in evaluation, and what training moves."""

import functools
import json
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

TOOLS = runpy.run_path(str(pathlib.Path(__file__).with_name("test_resnet.py")))
GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
KINDS, SUMS = TOOLS["KINDS"], TOOLS["SUMS"]
build, close, images = TOOLS["build"], TOOLS["close"], TOOLS["images"]


def preactivated(variables, image, depth):
  """The network with norms before convolutions by hand: running statistics, nothing hidden."""
  params, stats = (variables[name]["encoder"] for name in ("params", "batch_stats"))
  x = conv(image, params["embed"]["kernel"], 1)
  x = jax.nn.relu(norm(x, params["embed_norm"], stats["embed_norm"]))
  for i in range(depth):
    block, seen = params[f"block_{i:02d}"], stats[f"block_{i:02d}"]
    wide = block["conv2"]["kernel"].shape[-1]
    strides = 2 if i and wide != x.shape[-1] else 1
    y = jax.nn.relu(norm(x, block["norm1"], seen["norm1"]))
    if "shortcut" in block:
      x = conv(y, block["shortcut"]["kernel"], strides)
    elif wide != x.shape[-1]:
      x = jnp.pad(y[:, ::2, ::2], [(0, 0)] * 3 + [(0, wide - x.shape[-1])])
    else:
      x = y
    y = conv(y, block["conv1"]["kernel"], strides)
    y = jax.nn.relu(norm(y, block["norm2"], seen["norm2"]))
    x = x + conv(y, block["conv2"]["kernel"], 1)
  head = variables["params"]["head"]
  return x.mean((1, 2)) @ head["kernel"] + head["bias"]


@pytest.mark.parametrize("project", [True, False])
def test_preact_equals_the_equations(project):
  image = images()
  network, variables = build(image, depth=8, width=4, preact=True, project=project)
  both = jax.jit(lambda v, image: (network.apply(v, image), preactivated(v, image, 3)))
  close(*both(variables, image), **SUMS)


def test_preact_equals_fmixs_public_code():
  made = runpy.run_path(str(GOLDEN / "make_preact.py"))
  image = made["filled"]("images", made["SHAPE"])
  network, variables = build(image, depth=18, width=4, preact=True, stages=(2, 1))

  def fill(path, leaf):
    name = jax.tree_util.keystr(path[1:], simple=True, separator="/")
    return made["filled"](name, leaf.shape)

  variables = jax.tree_util.tree_map_with_path(fill, variables)
  expected = json.loads((GOLDEN / "preact.json").read_text())["logits"]
  np.testing.assert_allclose(jax.jit(network.apply)(variables, image), expected, rtol=2e-5)


def conv(x, kernel, strides):
  side = kernel.shape[0] // 2
  layout = ("NHWC", "HWIO", "NHWC")
  return lax.conv_general_dilated(x, kernel, (strides,) * 2, [(side, side)] * 2, None, None, layout)


def norm(x, params, statistics):
  mean, var = statistics["mean"], statistics["var"]
  return (x - mean) / jnp.sqrt(var + 1e-5) * params["scale"] + params["bias"]


def plain(variables, image, depth, bottleneck, small):
  """The network by hand: running statistics, nothing hidden."""
  params, stats = (variables[name]["encoder"] for name in ("params", "batch_stats"))
  x = conv(image, params["embed"]["kernel"], 1 if small else 2)
  x = jax.nn.relu(norm(x, params["embed_norm"], stats["embed_norm"]))
  if not small:
    ones, around = (1, 3, 3, 1), [(0, 0), (1, 1), (1, 1), (0, 0)]
    x = lax.reduce_window(x, -jnp.inf, lax.max, ones, (1, 2, 2, 1), around)
  for i in range(depth):
    block, seen = params[f"block_{i:02d}"], stats[f"block_{i:02d}"]
    layers = 3 if bottleneck else 2
    wide = block["conv1"]["kernel"].shape[-1] * (4 if bottleneck else 1)
    strides = 2 if i and wide != x.shape[-1] else 1
    y = x
    for j in range(1, layers + 1):
      y = conv(y, block[f"conv{j}"]["kernel"], strides if j == layers - 1 else 1)
      y = norm(y, block[f"norm{j}"], seen[f"norm{j}"])
      y = jax.nn.relu(y) if j < layers else y
    if "shortcut" in block:
      x = conv(x, block["shortcut"]["kernel"], strides)
      x = norm(x, block["shortcut_norm"], seen["shortcut_norm"])
    elif wide != x.shape[-1]:
      x = jnp.pad(x[:, ::2, ::2], [(0, 0)] * 3 + [(0, wide - x.shape[-1])])
    x = jax.nn.relu(x + y)
  head = variables["params"]["head"]
  return x.mean((1, 2)) @ head["kernel"] + head["bias"]


@pytest.mark.parametrize("name", ["cifar", "basic", "bottleneck"])
def test_the_plain_network_written_out(name):
  image = images((24, 40, 3))
  network, variables = build(image, **KINDS[name])
  blocks, bottleneck = sum(network.encoder.stages), name == "bottleneck"
  by_hand = functools.partial(
    plain, depth=blocks, bottleneck=bottleneck, small=network.encoder.small
  )
  both = jax.jit(lambda v, image: (network.apply(v, image), by_hand(v, image)))
  got, expected = jax.device_get(both(variables, image))
  assert np.std(expected) > 1e-2
  close(got, expected, **SUMS)


def test_training_uses_the_batch_and_moves_the_statistics():
  network, variables = build(images(), **KINDS["cifar"])
  apply = functools.partial(network.apply, train=True, mutable=["batch_stats"])
  kernel = variables["params"]["encoder"]["embed"]["kernel"]

  @jax.jit
  def run(image):
    return apply(variables, image), apply(variables, image[:1]), conv(image, kernel, 1)

  (logits, new), (alone, _), x = jax.device_get(run(images()))
  x = x.astype(np.float64)
  old, moved = (v["batch_stats"]["encoder"]["embed_norm"] for v in (variables, new))
  np.testing.assert_allclose(moved["mean"], 0.9 * old["mean"] + 0.1 * x.mean((0, 1, 2)), rtol=1e-4)
  np.testing.assert_allclose(moved["var"], 0.9 * old["var"] + 0.1 * x.var((0, 1, 2)), rtol=1e-4)
  assert np.abs(alone - logits[:1]).max() > 1e-3
