"""Taps and gates of residual networks: pixels are tokens, and stages have grids of their own."""

import functools
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.model import layers, resnet
from maskjax.model.places import NOWHERE

EXACT = dict(atol=1e-4, rtol=1e-4)
IMAGE = np.random.default_rng(0).normal(size=(2, 8, 12, 2)).astype(np.float32)
GRIDS = [(8, 12), (4, 6), (2, 3)]
WIDTHS = [4, 8, 16]
KINDS = {
  "plain": dict(depth=8, project=True),
  "preact": dict(depth=8, preact=True, project=True),
  "bottleneck": dict(depth=50, stem="small"),
}


@functools.cache
def build(kind):
  network = resnet(record_shape=IMAGE.shape[1:], classes=3, width=4, **KINDS[kind])
  network = network.clone(encoder=network.encoder.clone(stages=(1, 1, 1)))
  rng = np.random.default_rng(1)

  def draw(path, leaf):
    x = rng.normal(size=leaf.shape)
    return np.float32({"var": np.exp(x / 4), "kernel": x / 3}.get(path[-1].key, 1 + x / 4))

  shapes = jax.eval_shape(network.init, jax.random.key(0), IMAGE)
  return network, jax.tree_util.tree_map_with_path(draw, shapes)


def last_kernel(kind):
  return "conv3" if kind == "bottleneck" else "conv2"


def without(variables, kind, channels):
  """Variables whose second block reads nothing of some channels in its last convolution."""
  changed = jax.tree.map(np.array, variables)
  changed["params"]["encoder"]["block_01"][last_kernel(kind)]["kernel"][:, :, channels] = 0
  return changed


@functools.cache
def told(kind):
  """All cases of a kind, in one program, and the gate of pixels in them."""
  network, variables = build(kind)
  apply = functools.partial(layers.apply, network)
  pixels = np.random.default_rng(2).random((2, *GRIDS[0])).astype(np.float32)
  # The stem sees pixel (3, 4) from its eight neighbours too.
  pixels[:, 2:5, 3:6] = 0
  pixels = pixels.reshape(2, -1)
  spoilt = IMAGE.copy()
  spoilt[:, 3, 4] = np.nan
  half = lambda x: jax.nn.sigmoid(x.mean(-1))
  loss = lambda v, gate: jnp.sum(apply(v, IMAGE, gates={"encoder/1/hidden": gate}).out ** 2)

  @jax.jit
  def program(v, v_without):
    taps = [f"encoder/*/{place}" for place in ("input", "hidden", "output")]
    gates = {"encoder/0/input": pixels, "encoder/1/input": half}
    return {
      "asked": apply(v, IMAGE, taps=[*taps, "encoder/1/input_gate"], gates=gates),
      "spoilt": apply(v, spoilt, taps=["encoder/0/input"], gates=gates),
      "gated": apply(v, IMAGE, gates={"encoder/1/hidden": OPEN}).out,
      "without": apply(v_without, IMAGE).out,
      "slopes": jax.grad(loss, argnums=(0, 1))(v, np.ones(8, np.float32)),
    }

  return pixels, jax.device_get(program(variables, without(variables, kind, OPEN == 0)))


OPEN = np.float32(np.arange(8) % 3 > 0)
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_outputs_are_layers_with_the_grid_of_their_stage(kind):
  _, found = told(kind)
  stages = found["asked"].layers["encoder"]
  assert [layer.grid for layer in stages] == GRIDS
  wide = 4 if kind == "bottleneck" else 1
  for i, (layer, grid) in enumerate(zip(stages, GRIDS, strict=True)):
    assert layer.tokens.shape == (2, math.prod(grid), wide * WIDTHS[i])
    assert found["asked"].found[f"encoder/{i}/hidden"].shape == (2, math.prod(grid), WIDTHS[i])


@every_kind
def test_the_mean_of_the_last_output_is_what_the_head_reads(kind):
  _, variables = build(kind)
  asked, head = told(kind)[1]["asked"], variables["params"]["head"]
  logits = asked.found["encoder/2/output"].mean(1) @ head["kernel"] + head["bias"]
  np.testing.assert_allclose(asked.out, logits, **EXACT)


def test_a_gate_by_a_function_gets_pixels_as_tokens_before_any_gate():
  found = told("plain")[1]["asked"].found
  np.testing.assert_array_equal(found["encoder/1/input"], found["encoder/0/output"])
  opened = 1 / (1 + np.exp(-np.float64(found["encoder/1/input"]).mean(-1)))
  np.testing.assert_allclose(found["encoder/1/input_gate"], opened, **EXACT)


def test_an_input_is_gated_pixel_by_pixel():
  """The first block of this kind adds its gated input to what its layers make of it."""
  pixels, found = told("plain")
  _, variables = build("plain")
  taps, own = found["asked"].found, variables["params"]["encoder"]["block_00"]
  stats = variables["batch_stats"]["encoder"]["block_00"]["norm2"]
  hidden = np.pad(
    taps["encoder/0/hidden"].reshape(2, *GRIDS[0], -1), [(0, 0), (1, 1), (1, 1), (0, 0)]
  )
  windows = np.lib.stride_tricks.sliding_window_view(hidden, (3, 3), axis=(1, 2))
  y = np.einsum("bhwcij,ijcd->bhwd", np.float64(windows), own["conv2"]["kernel"])
  y = (y - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * own["norm2"]["scale"] + own["norm2"][
    "bias"
  ]
  x = taps["encoder/0/input"] * pixels[..., None] + y.reshape(2, -1, 4)
  np.testing.assert_allclose(taps["encoder/0/output"], np.maximum(x, 0), **EXACT)


@every_kind
def test_nan_behind_a_closed_gate_reaches_nothing(kind):
  _, found = told(kind)
  assert np.isnan(found["spoilt"].found["encoder/0/input"]).any()
  np.testing.assert_array_equal(found["spoilt"].out, found["asked"].out)


@every_kind
def test_a_closed_gate_is_a_convolution_that_does_not_read_the_channel(kind):
  _, found = told(kind)
  np.testing.assert_allclose(found["gated"], found["without"], **EXACT)


@every_kind
def test_the_slope_of_a_gate_is_the_importance_of_its_channel(kind):
  _, found = told(kind)
  to_weights, to_gate = found["slopes"]
  path = lambda v: np.float64(v["params"]["encoder"]["block_01"][last_kernel(kind)]["kernel"])
  expected = (path(build(kind)[1]) * path(to_weights)).sum((0, 1, 3))
  np.testing.assert_allclose(to_gate, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@every_kind
def test_nothing_asked_leaves_the_program_as_it_is_without_places(kind, monkeypatch):
  network, variables = build(kind)
  traced = lambda: str(jax.make_jaxpr(lambda v: network.apply(v, IMAGE))(variables))
  with_places = traced()
  monkeypatch.setattr(sys.modules["maskjax.model.resnet"], "Places", lambda *_, **__: NOWHERE)
  assert with_places == traced()


def test_convolutions_have_neither_heads_nor_attention():
  network, variables = build("plain")
  for place in ("heads", "attention"):
    for asked in ({"taps": [f"encoder/1/{place}"]}, {"gates": {f"encoder/1/{place}": np.ones(2)}}):
      run = lambda v, asked=asked: layers.apply(network, v, IMAGE, **asked)
      with pytest.raises(BadInput, match=rf"no 'encoder/1/{place}'.*encoder/\*/hidden, 3 layers"):
        jax.eval_shape(run, variables)
