"""Superpixels: those of a plain k-means, where pixels lie together, and all masks of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.explain import covered, slic

RNG = np.random.default_rng(0)


def by_hand(image, down, across, compactness, rounds):
  """k-means in numpy, from the pixels in the middle of a lattice's cells."""
  h, w, _ = image.shape
  spacing = np.sqrt(h * w / (down * across))
  place = np.stack(np.indices((h, w)), -1) * (compactness / spacing)
  points = np.concatenate([image, place], -1)
  rows, columns = (((np.arange(n) + 0.5) * s / n).astype(int) for n, s in ((down, h), (across, w)))
  centres = points[rows][:, columns].reshape(down * across, -1)
  points = points.reshape(h * w, -1)
  nearest = lambda: np.square(points[:, None] - centres).sum(-1).argmin(-1)
  for _ in range(rounds):
    mine = nearest()
    for k in np.unique(mine):
      centres[k] = points[mine == k].mean(0)
  return nearest().reshape(h, w)


def test_slic_is_k_means_of_colours_and_places():
  image = RNG.random((2, 12, 18, 3)).astype(np.float32)
  got = jax.jit(functools.partial(slic, segments=6, compactness=0.7, rounds=3))(image)
  for one, expected in zip(got, image, strict=True):
    np.testing.assert_array_equal(one, by_hand(expected.astype(np.float64), 2, 3, 0.7, 3))


def test_compact_segments_are_the_lattice_and_others_follow_colour():
  image = np.zeros((8, 8, 1), np.float32)
  image[:, 3:] = 1
  cut = jax.jit(lambda x: [slic(x, segments=4, compactness=c) for c in (1e3, 0.01)])
  lattice, followed = map(np.asarray, cut(image))
  corners = lattice[::7, ::7]
  assert corners.tolist() == [[0, 1], [2, 3]]
  assert (np.bincount(lattice.ravel()) >= 12).all()
  assert not set(followed[:, :3].ravel()) & set(followed[:, 3:].ravel())


@pytest.mark.parametrize("segments", [1, 2, 7, 60])
def test_numbers_stay_below_segments(segments):
  image = RNG.random((6, 10, 1)).astype(np.float32)
  unit = np.asarray(jax.jit(functools.partial(slic, segments=segments, rounds=2))(image))
  assert 0 <= unit.min() <= unit.max() < segments


def test_covered_marks_the_pixels_of_hidden_segments():
  unit, hidden = RNG.integers(0, 5, (3, 1, 20)), RNG.random((3, 4, 5)) < 0.5
  got = np.asarray(covered(jnp.asarray(hidden), jnp.asarray(unit)))
  for n, m in np.ndindex(3, 4):
    np.testing.assert_array_equal(got[n, m], hidden[n, m][unit[n, 0]])


def test_too_many_segments_are_refused():
  with pytest.raises(BadInput, match="2 x 2 pixels has 1 to 4 segments, got 5"):
    slic(jnp.zeros((2, 2, 1)), segments=5)
