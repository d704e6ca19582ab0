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
  np.testing.assert_allclose(pixels().encode(jnp.asarray(PATCHES)), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("kind", [pixels, latents])
def test_decoding_undoes_encoding(kind, normalise):
  target = kind(normalise=normalise)
  x = jnp.asarray(PATCHES)
  np.testing.assert_allclose(target.decode(target.encode(x), x), x, rtol=1e-5, atol=1e-5)


def test_latents_are_layer_normalised():
  # As torch's layer_norm over the last axis: the variance is that of all, not unbiased.
  x = PATCHES.astype(np.float64)
  expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
  np.testing.assert_allclose(latents().encode(jnp.asarray(PATCHES)), expected, rtol=2e-5, atol=1e-6)


def test_plain_pixels_are_the_patches():
  target = pixels(normalise=False)
  x, prediction = jnp.asarray(PATCHES), jnp.zeros(PATCHES.shape)
  assert target.encode(x) is x
  assert target.decode(prediction, x) is prediction


def test_flat_patches_have_a_finite_target_and_gradient():
  flat = jnp.full((1, 2, 4), 0.25)
  np.testing.assert_array_equal(pixels().encode(flat), 0)
  assert jnp.isfinite(jax.grad(lambda x: pixels().encode(x).sum())(flat)).all()
  np.testing.assert_array_equal(pixels().decode(jnp.zeros_like(flat), flat), flat)


def test_a_patch_is_normalised_by_itself_alone():
  x = jnp.asarray(PATCHES)
  spoilt = pixels().encode(x.at[0, 0].set(jnp.nan))
  np.testing.assert_array_equal(spoilt[0, 1:], pixels().encode(x)[0, 1:])


def test_patches_of_one_value_are_refused_unless_plain():
  one = jnp.ones((2, 5, 1))
  with pytest.raises(BadInput, match=r"set target\.normalise=False"):
    pixels().encode(one)
  np.testing.assert_array_equal(pixels(normalise=False).encode(one), one)
