"""What stands in a hole: its neighbours ring by ring, the mean of the rest, a blur."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import convolve, distance_transform_cdt

from maskjax import hide
from maskjax.errors import BadInput

GRID = (7, 6)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, *GRID, 2)).astype(np.float32)
HIDDEN = RNG.random((3, *GRID)) < np.array([0.4, 0.95, 1.0])[:, None, None]
FLAT, HOLES = X.reshape(3, -1, 2), HIDDEN.reshape(3, -1)
STEPS = (0, 1, 2, 9, None)


def by_hand(x, hidden, steps):
  """Ring by ring with scipy's 3 x 3 sums, zeros beyond the picture."""
  known, x = ~hidden, np.where(hidden, 0.0, x)
  for _ in range(steps):
    total, count = (convolve(a, np.ones((3, 3)), mode="constant") for a in (x, known.astype(float)))
    x = np.where(known, x, total / np.maximum(count, 1))
    known = known | (count > 0.5)
  return x


@functools.cache
def filled():
  """What stands in the holes after every number of steps, of values and of ones."""
  rings = lambda x, h: {str(n): hide.neighbours(x, h, grid=GRID, steps=n) for n in STEPS}
  ones = np.ones((*HOLES.shape, 1), np.float32)
  both = jax.jit(lambda x, ones, h: (rings(x, h), rings(ones, h)))
  return jax.device_get(both(FLAT, ones, HOLES))


@pytest.mark.parametrize("steps", [0, 1, 2, 9])
def test_neighbours_equal_the_rings(steps):
  got = filled()[0][str(steps)].reshape(X.shape)
  for b, c in np.ndindex(3, 2):
    expected = by_hand(X[b, ..., c], HIDDEN[b], steps)
    np.testing.assert_allclose(got[b, ..., c], expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(got[~HIDDEN], X[~HIDDEN])


def test_neighbours_reach_as_many_rings_as_steps():
  far = np.stack([distance_transform_cdt(h, "chessboard") for h in HIDDEN[:2]])
  for steps in (1, 2, None):
    got = filled()[1][str(steps)].reshape(HIDDEN.shape)
    reached = far <= (steps or 99)
    np.testing.assert_allclose(got[:2], reached.astype(np.float32), rtol=1e-6)
    np.testing.assert_array_equal(got[2], 0)


def test_average_is_that_of_what_is_visible():
  got = np.asarray(jax.jit(hide.mean)(FLAT, HOLES))
  for b in (0, 1):
    np.testing.assert_allclose(got[b][HOLES[b]][0], FLAT[b][~HOLES[b]].mean(0), rtol=1e-5)
  np.testing.assert_array_equal(got[2], 0)


@pytest.mark.parametrize("fill", [hide.mean, lambda x, h: hide.neighbours(x, h, grid=GRID)])
def test_removers_let_nothing_through(fill):

  def loss(x):
    got = fill(x, jnp.asarray(HOLES))
    return jnp.sum(got * jnp.arange(2.0)), got

  both = jax.jit(jax.grad(loss, has_aux=True))
  expected, filled = both(FLAT)
  for leak in (np.nan, np.inf, 5.0):
    slope, got = both(np.where(HOLES[..., None], np.float32(leak), FLAT))
    np.testing.assert_array_equal(got, filled)
    np.testing.assert_array_equal(np.asarray(slope)[HOLES], 0)
    np.testing.assert_array_equal(slope, expected)
  assert np.abs(np.asarray(slope)[~HOLES]).max() > 0


def test_blur_equals_its_sum():
  sigma = 1.3
  at = np.stack(np.indices(GRID), -1).reshape(-1, 2)
  weight = np.exp(-np.square(at[:, None] - at).sum(-1) / (2 * sigma**2))
  smooth = (weight / weight.sum(-1, keepdims=True)) @ FLAT
  expected = np.where(HOLES[..., None], smooth, FLAT)
  got = jax.jit(functools.partial(hide.blur, grid=GRID, sigma=sigma))(FLAT, HOLES)
  np.testing.assert_allclose(got, expected, atol=1e-5)


def test_what_cannot_be_is_named():
  with pytest.raises(BadInput, match=r"grid \(3, 4\) has 12 positions, got 42"):
    hide.neighbours(jnp.asarray(FLAT), jnp.asarray(HOLES), grid=(3, 4))
  with pytest.raises(BadInput, match="sigma of a blur is positive"):
    hide.blur(jnp.asarray(FLAT), jnp.asarray(HOLES), grid=GRID, sigma=0.0)
