"""The separator against torchaudio's Conv-TasNet, plain convolutions, and what it may look at."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict
from safetensors.numpy import load_file

from maskjax import hide, select
from maskjax.errors import BadInput
from maskjax.model.separator import DilatedDepthwise, FrameNorm, separator

close = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "closeness.py"))["close"]
GOLDEN = load_file(pathlib.Path(__file__).parents[1] / "golden" / "conv_tasnet.safetensors")
SMALL = dict(filters=6, size=8, width=5, hidden=6, skip=4, depth=2, repeats=2)


def named(blocks):
  """Our names of torchaudio's weights, and what is done to them."""
  same, turned, negated = lambda x: x, lambda x: x[..., 0].T, lambda x: -x[..., 0].T
  first, taps = lambda x: x[0], lambda x: x[:, 0].T
  yield "encoder.weight", "analysis", lambda x: x[:, 0].T
  yield "decoder.weight", "synthesis", lambda x: x[:, 0].T

  def norm(there, here):
    yield f"{there}.weight", f"{here}/scale", same
    yield f"{there}.bias", f"{here}/bias", same

  def dense(there, here):
    yield f"{there}.weight", f"{here}/kernel", turned
    yield f"{there}.bias", f"{here}/bias", same

  yield from norm("mask_generator.input_norm", "norm")
  yield from dense("mask_generator.input_conv", "bottleneck")
  for i in range(blocks):
    there, here = f"mask_generator.conv_layers.{i}", f"block_{i}"
    yield from dense(f"{there}.conv_layers.0", f"{here}/widen")
    yield f"{there}.conv_layers.1.weight", f"{here}/slope_in/negative_slope", first
    yield from norm(f"{there}.conv_layers.2", f"{here}/norm_in")
    yield f"{there}.conv_layers.3.weight", f"{here}/depthwise/kernel", taps
    yield f"{there}.conv_layers.3.bias", f"{here}/depthwise/bias", same
    yield f"{there}.conv_layers.4.weight", f"{here}/slope_out/negative_slope", first
    yield from norm(f"{there}.conv_layers.5", f"{here}/norm_out")
    if i < blocks - 1:
      yield from dense(f"{there}.res_out", f"{here}/onward")
    yield from dense(f"{there}.skip_out", f"{here}/skip")
  yield "mask_generator.output_prelu.weight", "slope/negative_slope", first
  # A high score hides: torchaudio's logits open.
  yield "mask_generator.output_conv.weight", "head/kernel", negated
  yield "mask_generator.output_conv.bias", "head/bias", lambda x: -x


def separated(network, mixture):
  """The sources, each by sigmoid gates of its own on the content of the mixture."""
  content = network.encode(mixture)
  gates = select.sigmoid(network.scores(content))
  each = jnp.broadcast_to(content[..., None, :, :, :], (*gates.shape, content.shape[-1]))
  return network.decode(hide.gate(each, gates), mixture.shape[-1])


def test_equals_torchaudio():
  table = list(named(6))
  weights = {name.removeprefix("weights/") for name in GOLDEN if name.startswith("weights/")}
  assert {there for there, _, _ in table} == weights
  flat = {here: change(GOLDEN[f"weights/{there}"]) for there, here, change in table}
  sizes = dict(filters=10, size=8, width=6, hidden=12, depth=3, repeats=2)
  network = separator(record_shape=(3, 101), **sizes)
  variables = {"params": unflatten_dict(flat, sep="/")}
  mixture = GOLDEN["mixture"]
  init = functools.partial(network.init, method=separated)
  shapes = jax.eval_shape(init, jax.random.key(0), mixture)
  assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
  estimates = jax.jit(functools.partial(network.apply, method=separated))(variables, mixture)
  np.testing.assert_allclose(estimates, GOLDEN["estimates"], atol=2e-5)
  assert np.abs(GOLDEN["estimates"]).max() > 0.3


def test_the_paper_size_has_torchaudios_parameters():
  network = separator(record_shape=(2, 800))
  init = functools.partial(network.init, method=separated)
  shapes = jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, 800)))
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == GOLDEN["parameters"]


@pytest.mark.parametrize("causal", [False, True])
def test_shifted_sums_are_a_grouped_convolution(causal):
  rng = np.random.default_rng(0)
  x, kernel, bias = (np.float32(rng.normal(size=size)) for size in ((2, 11, 3), (3, 3), (3,)))
  layer = DilatedDepthwise(3, 4, causal)

  @jax.jit
  def both(x, kernel, bias):
    grouped = jax.lax.conv_general_dilated(
      x, kernel[:, None], (1,), [(8, 0) if causal else (4, 4)], rhs_dilation=(4,),
      dimension_numbers=("NHC", "HIO", "NHC"), feature_group_count=3,
    )  # fmt: skip
    return layer.apply({"params": {"kernel": kernel, "bias": bias}}, x), grouped + bias

  close(*both(x, kernel, bias), depth=1, terms=3, axis=None)


@pytest.mark.parametrize("offset", [2, 1000])
@pytest.mark.parametrize("causal", [False, True])
def test_norms_are_over_all_frames_or_those_that_have_been(causal, offset):
  # In steps that float32 has at 1000 too.
  noise = np.round(np.random.default_rng(0).normal(0, 3, size=(2, 7, 4)) * 1024) / 1024
  x = (offset + noise).astype(np.float32)
  layer = FrameNorm(causal)
  out = np.asarray(jax.jit(layer.init_with_output)(jax.random.key(0), x)[0])
  for t in range(7):
    seen = x[:, : t + 1] if causal else x
    mean, std = (f((1, 2), dtype=np.float64) for f in (seen.mean, seen.std))
    np.testing.assert_allclose(out[:, t], (x[:, t] - mean[:, None]) / std[:, None], atol=2e-4)


@pytest.fixture(scope="module", params=[False, True], ids=["both ways", "causal"])
def made(request):
  """A small network of either mode, its weights and a mixture."""
  network = separator(record_shape=(2, 80), causal=request.param, **SMALL)
  rng = np.random.default_rng(1)
  mixture = rng.normal(size=(3, 80)).astype(np.float32)
  variables = jax.jit(functools.partial(network.init, method=separated))(jax.random.key(0), mixture)
  apply = jax.jit(functools.partial(network.apply, method=separated))
  return network, lambda mixture: np.asarray(apply(variables, mixture)), mixture


def test_causal_looks_ahead_by_less_than_a_frame(made):
  network, apply, mixture = made
  at = 50
  changed = mixture.copy()
  changed[:, at] += 1
  moved = np.abs(apply(changed) - apply(mixture))
  first = int(np.argmax((moved > 1e-6).any((0, 1))))
  if network.causal:
    assert at - network.size < first <= at
  else:
    assert first < network.size


def test_examples_do_not_see_each_other(made):
  _, apply, mixture = made
  alone = mixture.copy()
  alone[::2] = 0
  np.testing.assert_allclose(apply(alone)[1], apply(mixture)[1], atol=1e-5)


@pytest.mark.parametrize("length", [64, 67])
def test_open_gates_give_the_mixture_back_on_the_fourier_basis(length):
  network = separator(record_shape=(2, length), basis="fourier", hop=2, **SMALL)
  mixture = np.random.default_rng(1).normal(size=(2, length)).astype(np.float32)

  @jax.jit
  def through(mixture):
    content = network.apply({}, mixture, method="encode")
    kept = hide.gate(content, jnp.ones(content.shape[:-1]))
    return network.apply({}, kept, length, method="decode")

  np.testing.assert_allclose(through(mixture), mixture, atol=1e-4)


def test_peaks_tell_the_frequency_of_a_filter():
  network = separator(record_shape=(2, 80), **{**SMALL, "size": 32})
  at = np.array([0.0, 0.25, 0.5, 0.75, 0.9, 1.0])
  tones = np.cos(np.pi * at * np.arange(32)[:, None]).astype(np.float32)
  variables = {"params": {"analysis": tones, "synthesis": tones}}
  peaks = jax.jit(lambda v: network.apply(v, method="peaks"))
  np.testing.assert_allclose(peaks(variables), at, atol=0.02)


@pytest.mark.parametrize(
  ("changes", "says"),
  [
    ({"record_shape": (2, 3, 4)}, "takes mixtures"),
    ({"basis": "furier"}, "fourier"),
    ({"hop": 9}, "hop=9"),
    ({"hop": 0}, "hop=0"),
    ({"skip": 0}, "skip=0"),
    ({"depth": 0}, "depth=0"),
  ],
)
def test_what_cannot_work_is_refused(changes, says):
  with pytest.raises(BadInput, match=says):
    separator(**{"record_shape": (2, 80), **SMALL, **changes})
