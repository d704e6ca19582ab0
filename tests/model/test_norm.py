"""Layer normalisation and the activation of blocks against flax's, in value, slope and tangent."""

import pathlib
import runpy

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from maskjax.model.norm import LayerNorm
from maskjax.model.transformer import gelu

close = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "closeness.py"))["close"]


def test_it_is_flax_layer_norm_in_value_slope_and_tangent():
  rng = np.random.default_rng(0)
  x, slope = rng.normal(2.0, 3.0, size=(2, 4, 5, 24)).astype(np.float32)
  x[0, 0] = 7.0  # a row without deviation
  params = {name: rng.normal(size=24).astype(np.float32) for name in ("scale", "bias")}

  @jax.jit
  def both(params, x, slope):
    sides = []
    for one in (LayerNorm(1e-5), nn.LayerNorm(1e-5)):
      run = lambda p, x, one=one: one.apply({"params": p}, x)
      out, back = jax.vjp(run, params, x)
      sides.append((out, back(slope), jax.jvp(run, (params, x), (params, slope))[1]))
    return sides

  ours, flax = both(params, x, slope)
  close(ours, flax, depth=6, terms=24, axis=None)


def test_its_parameters_and_precision_are_those_of_flax():
  x = jax.ShapeDtypeStruct((2, 6), jnp.bfloat16)
  begun = [
    jax.eval_shape(one(dtype="bfloat16").init, jax.random.key(0), x)
    for one in (LayerNorm, nn.LayerNorm)
  ]
  assert begun[0] == begun[1]
  out = jax.eval_shape(LayerNorm(dtype="bfloat16").apply, begun[0], x)
  assert out.dtype == jnp.bfloat16


def test_gelu_is_that_of_jax_in_value_and_slope():
  x = np.linspace(-12, 12, 4001, dtype=np.float32)
  sides = jax.jit(lambda x: [jax.jvp(f, (x,), (x,)) for f in (gelu, exact)])(x)
  # Of what lies between 0 and 1 rounding takes an eps of 1, times x and its tangent.
  for ours, theirs, size in zip(*sides, (np.abs(x), 2 * x * x), strict=True):
    assert np.all(np.abs(ours - theirs) <= 4 * np.finfo(np.float32).eps * (1 + size))
  low = x.astype(jnp.bfloat16)
  np.testing.assert_array_equal(gelu(low), exact(low))


def exact(x):
  return nn.gelu(x, approximate=False)
