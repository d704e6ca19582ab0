"""Fourier noise: as the public code has it, on any grid, and its masks low in frequency."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import keys, recover, score, select
from maskjax.errors import BadInput
from maskjax.hide import mix
from maskjax.score.fourier import filtered

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "fmix.json").read_text())
KEY = jax.random.key(0)
every_case = pytest.mark.parametrize("case", GOLDEN, ids=lambda case: str(case["shape"]))


def frequency(grid):
  """Cycles a position of every wave."""
  axes = np.meshgrid(*map(np.fft.fftfreq, grid), indexing="ij")
  return np.sqrt(np.sum(np.square(axes), axis=0))


def amplitude(grid, decay=3.0):
  return np.maximum(frequency(grid), 1 / max(grid)) ** -decay


def noise_of(case):
  """The draws of which the filter makes the spectrum that the public code transforms.

  It takes the first two rows of its array of draws as real and imaginary parts, which puts waves of
  no and of one cycle on the last axis, and transforms to real numbers: the others count twice.
  """
  grid, rows = case["shape"], np.array(case["spectrum"])
  half = rows[0] + 1j * rows[1]
  half = half[tuple(slice(0, side) for side in grid[:-1])]
  whole = np.zeros(grid, complex)
  whole[tuple(slice(0, side) for side in half.shape)] = half
  whole[..., 1] *= 2
  whole /= amplitude(grid)
  return np.stack([whole.real, whole.imag]).astype(np.float32)


def of_all(field):
  """Between 0 and 1, as the public code stretches it."""
  return (field - field.min()) / (field.max() - field.min())


SHAPES = [tuple(case["shape"]) for case in GOLDEN]


@functools.cache
def ours():
  """For every case: our field, mask, mixed images and loss, of one program for all of them."""

  def of(case, noise, mixing, labels):
    hidden_number = int((1 - np.array(case["kept"])).sum())
    field = filtered(noise[None], decay=3.0)[0]
    # The code keeps what is highest, which by the noise's symmetry is as good as hiding it.
    hidden = select.top(-field.reshape(-1), count=hidden_number)
    images, index = mixing
    mixed = mix(images, jnp.broadcast_to(hidden, (3, hidden.size)), images[index])
    share, labels = jnp.mean(hidden), jax.nn.one_hot(labels, 5)
    target = (1 - share) * labels + share * labels[index]
    term = recover.cross_entropy(jnp.asarray(case["logits"]), target, jnp.ones(3, bool))
    return field, hidden, mixed, term.sum / term.count

  given = {}
  for shape, case in zip(SHAPES, GOLDEN, strict=True):
    images = np.float32(case["images"]).reshape(3, 2, -1).swapaxes(1, 2)
    given[shape] = noise_of(case), (images, np.array(case["index"])), np.array(case["labels"])
  cases = dict(zip(SHAPES, GOLDEN, strict=True))
  every = jax.jit(lambda given: {shape: of(cases[shape], *given[shape]) for shape in given})
  return jax.device_get(every(given))


@every_case
def test_equals_the_public_code_on_the_same_draws(case):
  field, hidden, mixed, loss = ours()[tuple(case["shape"])]
  np.testing.assert_allclose(of_all(field), case["field"], atol=2e-5)
  np.testing.assert_array_equal(hidden, np.array(case["kept"]).reshape(-1) != 1)
  expected = np.array(case["mixed"]).reshape(3, 2, -1).swapaxes(1, 2)
  np.testing.assert_allclose(mixed, expected, rtol=1e-6)
  np.testing.assert_allclose(loss, case["loss"], rtol=1e-5)
  assert len(case["shape"]) in (1, 2, 3)
  assert len(SHAPES) == len({*SHAPES})


def test_on_a_square_the_public_draws_are_ours_wave_by_wave():
  case = next(case for case in GOLDEN if case["shape"] == [8, 8])
  real, imaginary = noise_of(case)
  first, second = np.array(case["draws"])
  np.testing.assert_allclose(real[:5, 0], first[:, 0], rtol=1e-5)
  np.testing.assert_allclose(imaginary[:5, 1], 2 * second[:, 1], rtol=1e-5)


GRIDS, DECAYS = [(9,), (6, 8), (7, 5), (3, 4, 5)], [0.0, 1.5, 3.0]
DRAWS = {grid: np.random.default_rng(0).standard_normal((2, *grid), np.float32) for grid in GRIDS}


@functools.cache
def of_every_decay():
  """What becomes of the draws on every grid."""
  fields = lambda x: {decay: filtered(x[None], decay=decay)[0] for decay in DECAYS}
  return jax.device_get(jax.jit(lambda draws: jax.tree.map(fields, draws))(DRAWS))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("decay", DECAYS)
def test_meets_its_equation(grid, decay):
  noise = DRAWS[grid]
  expected = np.fft.ifftn((noise[0] + 1j * noise[1]) * amplitude(grid, decay)).real
  got = of_every_decay()[grid][decay]
  scale = amplitude(grid, decay).max()
  np.testing.assert_allclose(got * scale, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@functools.partial(jax.jit, static_argnames=("count", "grid", "decay"))
def fourier(key, count, grid, decay=3.0):
  """Fourier noise of so many examples."""
  return score.fourier_noise(keys(key, count), grid, decay=decay)


def test_power_falls_with_frequency_alike_in_all_directions():
  grid, decay = (16, 16), 1.0
  drawn = np.asarray(fourier(KEY, 2000, grid, decay)).reshape(-1, *grid)
  power = np.square(np.abs(np.fft.fft2(drawn))).mean(0)
  expected = amplitude(grid, decay) ** 2
  ratio = power / expected
  ratio /= ratio.mean()
  # Waves that are their own opposite are real, of as many draws half as many count.
  assert ratio.min() > 0.8
  assert ratio.max() < 1.2


def regions(hidden):
  """The number of connected parts of a mask's two sides, ends of an axis being neighbours."""
  label = np.arange(hidden.size).reshape(hidden.shape)
  while True:
    before = label
    for axis in range(hidden.ndim):
      for shift in (1, -1):
        same = np.roll(hidden, shift, axis) == hidden
        label = np.where(same, np.minimum(label, np.roll(label, shift, axis)), label)
    if (before == label).all():
      return len(np.unique(label))


def statistics(hidden, grid, ratio):
  """Mean number of regions, and of the masks' power the share below a quarter of all waves."""
  hidden = hidden.reshape(-1, *grid)
  assert (hidden.reshape(len(hidden), -1).sum(1) == round(ratio * hidden[0].size)).all()
  axes = tuple(range(1, hidden.ndim))
  power = np.square(np.abs(np.fft.fftn(hidden - hidden.mean(axes, keepdims=True), axes=axes)))
  low = frequency(grid) < 0.25
  return np.mean([regions(h) for h in hidden]), power[:, low].sum() / power.sum()


@pytest.mark.parametrize("grid", [(64,), (16, 16), (8, 8, 8)])
def test_masks_are_few_regions_and_fewer_the_faster_it_decays(grid):

  @jax.jit
  def draw(key):
    given = keys(key, 64)
    noise = lambda decay: score.fourier_noise(given, grid, decay=decay)
    # One search for them all.
    scores = [score.uniform(given, grid), *map(noise, (0.0, 1.0, 2.0, 3.0))]
    return select.top(jnp.stack(scores), ratio=0.4)

  white, *found = (statistics(hidden, grid, 0.4) for hidden in np.asarray(draw(KEY)))
  parts, low = np.array(found).T
  assert (np.diff(parts) < 0).all()
  assert (np.diff(low) > 0).all()
  # White noise is what a decay of 0 gives; at 3 a mask is a handful of regions.
  np.testing.assert_allclose(found[0], white, rtol=0.15)
  assert parts[-1] < 6
  assert parts[-1] < white[0] / 2
  assert low[-1] > 0.6
  assert low[-1] > white[1] + 0.25


def test_every_position_is_hidden_as_often_as_any_other():
  grid = (6, 5)
  hidden = jax.jit(lambda key: select.top(fourier(key, 4000, grid), ratio=0.3))(KEY)
  np.testing.assert_allclose(np.asarray(hidden).mean(0), 0.3, atol=0.04)


def test_examples_draw_alone_and_grids_may_be_any():
  grids = ((1,), (1, 7), (2, 1, 3), (0, 4))

  @jax.jit
  def draw(key):
    part = score.fourier_noise(keys(key, jnp.arange(4, 8)), (4, 6))
    folded = keys(key, 8).reshape(2, 4)
    return fourier(key, 8, (4, 6)), part, {g: score.fourier_noise(folded, g) for g in grids}

  whole, part, folded = jax.device_get(draw(KEY))
  np.testing.assert_allclose(whole[4:], part, rtol=1e-5, atol=1e-6)
  assert len(np.unique(whole, axis=0)) == 8
  for grid, drawn in folded.items():
    assert drawn.shape == (2, 4, np.prod(grid))
    assert drawn.dtype == jnp.float32
    assert np.isfinite(drawn).all()


@pytest.mark.parametrize(
  ("grid", "decay", "says"),
  [((2, 2, 2, 2), 3.0, "one to three axes"), ((), 3.0, "one to three"), ((4,), -1.0, "negative")],
)
def test_bad_input(grid, decay, says):
  with pytest.raises(BadInput, match=says):
    score.fourier_noise(keys(KEY, 2), grid, decay=decay)
