"""Ratios of signal to noise and who serves whom, against public code and exhaustive search."""

import functools
import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from maskjax import recover
from maskjax.errors import BadInput

GOLDEN = load_file(pathlib.Path(__file__).parents[1] / "golden" / "conv_tasnet.safetensors")
SOURCES, GUESSES = (GOLDEN[name] for name in ("sources", "guesses"))
ALL = np.ones(SOURCES.shape[:2], bool)
FREE, FIXED = (
  jax.jit(functools.partial(recover.negative_si_snr, permute=permute)) for permute in (True, False)
)
SLOPE = jax.jit(jax.value_and_grad(lambda y, s, asked: FREE(y, s, asked).sum))


def test_the_loss_is_the_public_one():
  term = FREE(GUESSES, SOURCES, ALL)
  np.testing.assert_allclose(term.sum / term.count, GOLDEN["loss"], rtol=1e-5)
  each = jax.jit(jax.vmap(recover.negative_si_snr))(GUESSES, SOURCES, ALL)
  np.testing.assert_allclose(-each.sum / each.count, GOLDEN["best"], rtol=1e-5)


def test_estimates_are_ordered_as_in_the_public_code():
  """Which of three it orders by the inverse of its best way: right where that is the same."""
  served = np.asarray(jax.jit(recover.best_permutation)(GUESSES, SOURCES))
  inverse = np.argsort(served, axis=-1)
  for order in (inverse, served[(served == inverse).all(-1)]):
    assert len(order)
  there = np.take_along_axis(GUESSES, inverse[..., None], axis=-2)
  np.testing.assert_array_equal(there, GOLDEN["ordered"])


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_no_way_to_serve_is_better(k):
  rng = np.random.default_rng(k)
  gain = rng.normal(size=(20, k, k)).astype(np.float32)
  found = np.asarray(jax.jit(recover.assignment)(gain))
  assert (np.sort(found, axis=-1) == np.arange(k)).all()
  value = lambda way: gain[:, np.arange(k), list(way)].sum(-1)
  best = np.max([value(way) for way in itertools.permutations(range(k))], axis=0)
  np.testing.assert_allclose(np.take_along_axis(gain, found[..., None], 2).sum((1, 2)), best, 1e-5)


def test_more_sources_than_can_be_tried_are_refused():
  with pytest.raises(BadInput, match="9 sources can be served in 362880 ways; at most 8"):
    recover.assignment(jnp.zeros((9, 9)))


def test_neither_scale_nor_offset_nor_order_count():
  plain = FREE(GUESSES, SOURCES, ALL)
  moved = FREE(-3 * GUESSES[:, ::-1] + 5, 0.1 * SOURCES - 2, ALL)
  np.testing.assert_allclose(moved.sum, plain.sum, rtol=1e-4)
  one, other = FIXED(GUESSES, SOURCES, ALL), FIXED(GUESSES[:, ::-1], SOURCES, ALL)
  assert one.sum > plain.sum + 1
  assert abs(other.sum - one.sum) > 1


def test_twice_the_noise_costs_six_decibels():
  rng = np.random.default_rng(0)
  source, noise = (x - x.mean() for x in rng.normal(size=(2, 400)))
  noise -= noise @ source / (source @ source) * source
  power = 10 * np.log10(source @ source / (noise @ noise))
  noisy = np.float32([source + a * noise for a in (1, 2)])
  found = jax.jit(recover.si_snr)(noisy, np.float32([source, source]))
  np.testing.assert_allclose(found, [power, power - 20 * np.log10(2)], rtol=1e-4)


def test_what_is_not_asked_reaches_nothing():
  asked = ALL & (np.arange(ALL.shape[1]) != 1)
  clean, slope = SLOPE(GUESSES, SOURCES, asked)
  silent = np.where(asked[..., None], SOURCES, np.float32(np.nan))
  broken, same = SLOPE(GUESSES, silent, asked)
  np.testing.assert_array_equal(clean, broken)
  np.testing.assert_array_equal(slope, same)
  assert ((np.asarray(slope) != 0).any(-1).sum(-1) == 2).all()
  assert FREE(GUESSES, SOURCES, asked).count == 8


def test_silence_has_finite_slopes():
  for y, s in ((0 * GUESSES, SOURCES), (GUESSES, 0 * SOURCES), (SOURCES, SOURCES)):
    value, slope = SLOPE(y, s, ALL)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
