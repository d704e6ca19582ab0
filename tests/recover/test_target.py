"""Targets: what is encoded decodes again, normalised pixels are those of the public MAE code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.recover import latents, pixels

PATCHES = np.random.default_rng(0).normal(3, 2, (2, 5, 12)).astype(np.float32)


def test_normalised_pixels_have_unbiased_deviation():
  # As torch: x.var(-1) is unbiased by default; (x - mean) / (var + 1e-6) ** 0.5
  x = PATCHES.astype(np.float64)
  variance = x.var(-1, ddof=1, keepdims=True)
  expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(variance + 1e-6)
  np.testing.assert_allclose(jax.jit(pixels().encode)(PATCHES), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("kind", [pixels, latents])
def test_decoding_undoes_encoding(kind, normalise):
  target = kind(normalise=normalise)
  again = jax.jit(lambda x: target.decode(target.encode(x), x))(PATCHES)
  np.testing.assert_allclose(again, PATCHES, rtol=1e-5, atol=1e-5)


def test_latents_are_layer_normalised():
  # As torch's layer_norm over the last axis: the variance is that of all, not unbiased.
  x = PATCHES.astype(np.float64)
  expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
  np.testing.assert_allclose(jax.jit(latents().encode)(PATCHES), expected, rtol=2e-5, atol=1e-6)


def test_plain_pixels_are_the_patches():
  target = pixels(normalise=False)
  x, prediction = jnp.asarray(PATCHES), jnp.zeros(PATCHES.shape)
  assert target.encode(x) is x
  assert target.decode(prediction, x) is prediction


def test_flat_patches_have_a_finite_target_and_gradient():
  flat = np.full((1, 2, 4), 0.25, np.float32)

  @jax.jit
  def ways(x):
    slope = jax.grad(lambda x: pixels().encode(x).sum())(x)
    return pixels().encode(x), slope, pixels().decode(jnp.zeros_like(x), x)

  encoded, slope, decoded = ways(flat)
  np.testing.assert_array_equal(encoded, 0)
  assert np.isfinite(slope).all()
  np.testing.assert_array_equal(decoded, flat)


def test_a_patch_is_normalised_by_itself_alone():
  encode = jax.jit(pixels().encode)
  spoilt = PATCHES.copy()
  spoilt[0, 0] = np.nan
  np.testing.assert_array_equal(encode(spoilt)[0, 1:], encode(PATCHES)[0, 1:])


def test_patches_of_one_value_are_refused_unless_plain():
  one = jnp.ones((2, 5, 1))
  with pytest.raises(BadInput, match=r"set target\.normalise=False"):
    pixels().encode(one)
  np.testing.assert_array_equal(pixels(normalise=False).encode(one), one)
