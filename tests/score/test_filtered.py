"""Noise of a color: the stated spectra, the masks of the public code, blobs or scatter."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from maskjax.errors import BadInput
from maskjax.keys import keys
from maskjax.score import color_noise, filtered
from maskjax.score.filtered import SIGMA
from maskjax.select import top

KEY = jax.random.key(0)
GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "colormae.json"
COLORS = ("red", "blue", "green", "purple")
every_color = pytest.mark.parametrize("color", COLORS)


def pass_of(color, blurs):
  """One pass of a color, made of its blurs of whatever it filters."""
  weak, strong = blurs[0], blurs[-1]
  return {
    "red": lambda x: weak(x),
    "blue": lambda x: x - weak(x),
    "green": lambda x: weak(x) - strong(x),
    "purple": lambda x: x - (weak(x) - strong(x)),
  }[color]


def power(color, shape, passes=5, sigma=None):
  """The stated power at every frequency of a torus, at mean 1."""
  frequencies = np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")
  squared = sum(f**2 for f in frequencies)
  left = [np.exp(-2 * np.pi**2 * s**2 * squared) for s in sigma or SIGMA[color]]
  response = pass_of(color, [lambda x, g=g: g * x for g in left])(np.ones(shape))
  stated = response ** (2 * passes)
  return stated / stated.mean()


def radius(*shape):
  return np.sqrt(sum(f**2 for f in np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")))


def in_space(x, color, sigma, passes):
  """The filter as SciPy's blurs, which convolve with a sampled Gaussian."""
  blur = lambda s: lambda x: ndimage.gaussian_filter(x, s, mode="wrap", truncate=9)
  for _ in range(passes):
    x = pass_of(color, [blur(s) for s in sigma])(x)
  return x


PASSES = {(20, 31): 1, (9, 12, 10): 2, (50,): 5}
NOISE = {shape: np.random.default_rng(0).standard_normal((2, *shape)) for shape in PASSES}
WIDTHS = {color: (1.6, 2.4)[: len(SIGMA[color])] for color in COLORS}
SIDES = 32, 40


@functools.cache
def fields():
  """Of every color: what its filter makes of given noise, and what is drawn, of one program."""

  def of(color, noise, key):
    plain = {
      shape: filtered(x, shape, color=color, sigma=WIDTHS[color], passes=PASSES[shape])
      for shape, x in noise.items()
    }
    white = jax.random.normal(key, (400, *SIDES))
    small = color_noise(keys(key, 3000), (12, 10), color=color)
    return plain, filtered(white, SIDES, color=color), small

  noise = {shape: x.astype(np.float32) for shape, x in NOISE.items()}
  of_all = jax.jit(lambda noise, key: {color: of(color, noise, key) for color in COLORS})
  return jax.device_get(of_all(noise, KEY))


@pytest.mark.parametrize(("shape", "passes"), PASSES.items())
@every_color
def test_filters_are_gaussian_blurs_in_space(color, shape, passes):
  impulse = np.zeros(shape)
  impulse.flat[0] = 1
  sigma = WIDTHS[color]
  expected = np.stack([in_space(x, color, sigma, passes) for x in NOISE[shape]])
  expected /= np.sqrt((in_space(impulse, color, sigma, passes) ** 2).sum())
  got = fields()[color][0][shape]
  np.testing.assert_allclose(-got.reshape(expected.shape), expected, atol=1e-4)


@every_color
def test_the_radially_averaged_power_is_the_stated_one(color):
  field = fields()[color][1].reshape(400, *SIDES)
  measured = (np.abs(np.fft.fft2(field)) ** 2).mean(0) / field[0].size
  ring = np.digitize(radius(*SIDES), np.arange(0.02, 0.7, 0.04))
  stated = power(color, SIDES)
  for i in np.unique(ring):
    # A ring has at least one frequency, 400 draws of it: a deviation of 7 %.
    np.testing.assert_allclose(measured[ring == i].mean(), stated[ring == i].mean(), 0.2, 1e-4)


@every_color
def test_noise_is_the_same_everywhere_and_does_not_wrap(color):
  drawn = fields()[color][2].reshape(-1, 12, 10)
  assert drawn.dtype == np.float32
  np.testing.assert_allclose(drawn.std(0), 1, atol=0.08)
  covariance = np.fft.ifft2(power(color, (128, 128))).real
  for lag in ((0, 1), (1, 1), (3, 0), (0, 9), (11, 0)):
    pairs = drawn[:, lag[0] :, lag[1] :] * drawn[:, : 12 - lag[0], : 10 - lag[1]]
    np.testing.assert_allclose(pairs.mean((1, 2)).mean(), covariance[lag], atol=0.05)


@functools.cache
def masks():
  """By color: three quarters of 14 x 14 patches, hidden in 500 examples."""
  noise = lambda key, color: color_noise(keys(key, 500), (14, 14), color=color)
  names = ("white", *COLORS)
  # One search for them all.
  scores = jax.jit(lambda key: top(jnp.stack([noise(key, c) for c in names]), count=147))
  hidden = np.asarray(scores(KEY)).reshape(len(names), -1, 14, 14).astype(float)
  return dict(zip(names, hidden, strict=True))


def neighbours(hidden):
  """Correlation of a patch with the next one."""
  centred = hidden - hidden.mean()
  return (centred[:, 1:] * centred[:, :-1]).mean() / hidden.var()


def test_masks_are_blobs_or_scattered():
  alike = {color: neighbours(hidden) for color, hidden in masks().items()}
  assert abs(alike["white"]) < 0.02
  assert alike["red"] > 0.7
  assert 0.3 < alike["green"] < 0.5
  assert alike["blue"] < -0.2
  assert alike["purple"] < -0.2


def test_power_of_masks_is_where_the_color_says():
  rings = np.digitize(radius(14, 14), (0.04, 0.12, 0.25, 0.45))
  window = np.outer(np.hanning(16)[1:-1], np.hanning(16)[1:-1])

  def rings_of(color):
    hidden = masks()[color]
    spectrum = np.abs(np.fft.fft2((hidden - hidden.mean()) * window)) ** 2
    return np.array([spectrum[:, rings == i].mean() for i in range(1, 5)])

  white = rings_of("white")
  np.testing.assert_allclose(white, white.mean(), rtol=0.1)
  red, blue, green, purple = (rings_of(color) / white for color in COLORS)
  assert red[0] > 5 > 1 > 0.3 > red[2] > red[3]
  assert max(blue[:3]) < 0.9 < 1.4 < blue[3]
  assert green[1] > 2 > 1 > green[2] > green[3]
  assert green[1] > 1.5 * green[0]
  assert min(purple[0], purple[3]) > 1.2 > 0.8 > max(purple[1:3])


def test_given_its_noise_the_patches_are_those_of_the_public_code():
  rows = json.loads(GOLDEN.read_text())
  given = [np.array(row["noise"], np.float32).reshape(row["side"], row["side"]) for row in rows]
  ways = {(noise.shape, row["ratio"]) for noise, row in zip(given, rows, strict=True)}

  @jax.jit
  def hide(given):
    patches = lambda x, ratio: top(filtered(x, x.shape, color="white"), ratio=ratio)
    return [patches(x, row["ratio"]) for x, row in zip(given, rows, strict=True)]

  assert len(ways) > 1
  for hidden, row in zip(hide(given), rows, strict=True):
    assert np.flatnonzero(hidden).tolist() == row["hidden"]


def test_an_example_draws_its_own_noise_on_any_grid():
  for grid in ((6,), (1, 2, 3)):

    @jax.jit
    def draw(key, grid=grid):
      noise = lambda positions: color_noise(keys(key, positions), grid, color="green")
      alone = color_noise(keys(key, 8)[2], grid, color="green")
      return noise(jnp.arange(8).reshape(2, 4)), noise(jnp.arange(4, 8)), alone

    whole, part, alone = jax.device_get(draw(KEY))
    assert whole.shape == (2, 4, np.prod(grid))
    assert np.isfinite(whole).all()
    assert len(np.unique(whole.reshape(8, -1), axis=0)) == 8
    np.testing.assert_allclose(part, whole[1], atol=1e-5)
    np.testing.assert_allclose(alone, whole[0, 2], atol=1e-5)


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (dict(color="gren"), "unknown color of noise 'gren'; did you mean 'green'"),
    (dict(color="green", sigma=(1.0,)), r"green noise takes 2 rising sigmas above 0, got \(1.0,\)"),
    (dict(color="green", sigma=(2.0, 1.0)), "rising"),
    (dict(color="red", sigma=(0.0,)), "above 0"),
    (dict(color="white", sigma=(1.0,)), "white noise takes 0"),
    (dict(color="red", passes=0), "at least once, got passes=0"),
  ],
)
def test_what_makes_no_filter_is_refused(words, says):
  with pytest.raises(BadInput, match=says):
    color_noise(keys(KEY, 2), (4, 4), **words)


@pytest.mark.parametrize(("shape", "grid"), [((5, 4), (5, 5)), ((5,), (5, 5)), ((5,), (1, 1, 5))])
def test_noise_smaller_than_the_grid_is_refused(shape, grid):
  with pytest.raises(BadInput, match="does not cover the grid"):
    filtered(jnp.zeros(shape), grid, color="white")
