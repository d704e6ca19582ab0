"""Modalities against scipy and scikit-learn, and what statistics do to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from maskjax import modalities
from maskjax.errors import BadInput

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(3, 12, 9, 3)).astype(np.float32)
PLAIN = {"mean": jnp.zeros(1), "std": jnp.ones(1)}


def test_edges_are_sobels():
  grey = IMAGES.mean(-1)
  expected = [np.hypot(*(ndimage.sobel(x, axis, mode="nearest") for axis in (0, 1))) for x in grey]
  found = jax.jit(modalities.edges().make)(PLAIN, IMAGES)
  np.testing.assert_allclose(found[..., 0], np.stack(expected) / 8, atol=1e-6)


@pytest.mark.parametrize(("narrow", "wide"), [(0.0, 1.0), (1.0, 2.5)])
def test_a_band_is_the_difference_of_two_blurs(narrow, wide):
  blur = lambda x, s: ndimage.gaussian_filter(x, s, mode="nearest", truncate=4) if s else x
  expected = [blur(x, narrow) - blur(x, wide) for x in IMAGES.mean(-1)]
  made = modalities.difference_of_gaussians(narrow=narrow, wide=wide)
  np.testing.assert_allclose(made.make(PLAIN, IMAGES)[..., 0], np.stack(expected), atol=1e-5)


@pytest.mark.parametrize("made", [modalities.edges(), modalities.difference_of_gaussians()])
def test_values_are_scaled_by_what_was_fitted(made):
  known = made.fit(IMAGES)
  scaled = np.asarray(made.make(known, IMAGES))
  np.testing.assert_allclose([scaled.mean(), scaled.std()], [0, 1], atol=1e-4)
  flat = made.fit(np.ones_like(IMAGES))
  assert np.isfinite(np.asarray(made.make(flat, np.ones_like(IMAGES)))).all()
  shapes = lambda tree: jax.tree.map(np.shape, dict(tree))
  assert shapes(known) == shapes(made.unfitted(3))


@pytest.mark.parametrize("stride", [1, 3])
def test_a_palette_finds_the_colours_that_are_there(stride):
  true = np.array([[0.1, 0.1, 0.2], [0.2, 0.8, 0.3], [0.9, 0.9, 0.7]], np.float32)
  labels = RNG.integers(0, 3, (4, 6, 6))
  image = true[labels].repeat(stride, 1).repeat(stride, 2)
  noisy = (image + 0.01 * RNG.normal(size=image.shape)).astype(np.float32)
  made = modalities.palette(colors=3, stride=stride)
  known = made.fit(noisy)
  np.testing.assert_allclose(known["colors"], true, atol=0.01)
  found = jax.jit(made.make)(known, noisy)
  np.testing.assert_array_equal(found, labels)
  assert (found.dtype, made.classes, made.stride) == (jnp.int32, 3, stride)
  assert made.unfitted(3)["colors"].shape == known["colors"].shape


def test_what_cannot_be_made_is_refused():
  with pytest.raises(BadInput, match="0 <= narrow < wide"):
    modalities.difference_of_gaussians(narrow=2.0, wide=1.0)
  with pytest.raises(BadInput, match="2 colors or more"):
    modalities.palette(colors=1)
  with pytest.raises(BadInput, match=r"palette\.stride=5"):
    modalities.palette(colors=2, stride=5).fit(IMAGES)
  with pytest.raises(BadInput, match="cannot be told from 1 pixels"):
    modalities.palette(colors=2).fit(IMAGES[:1, :1, :1])
