"""Ideal masks and estimates of known quality, measured."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import recover
from maskjax.train.evaluators.separation import oracles

RNG = np.random.default_rng(0)
ORACLES = jax.jit(partial(oracles, size=128, hop=32))
TIME = np.arange(1200)


def separated(sources):
  """What ideal masks gain, in dB, by kind."""
  sources = jnp.asarray(sources, jnp.float32)[None]
  mixture = sources.sum(1)
  found = ORACLES(mixture, sources)
  before = recover.si_snr(jnp.broadcast_to(mixture[:, None], sources.shape), sources)
  return {name: float((value - before).mean()) for name, value in found.items()}


def test_ideal_masks_take_tones_apart():
  gained = separated([np.sin(0.4 * TIME), np.sin(1.7 * TIME)])
  assert set(gained) == {"binary", "ratio", "wiener"}
  assert min(gained.values()) > 20


def test_ideal_masks_gain_little_where_sources_overlap():
  gained = separated(RNG.normal(size=(2, 1200)))
  assert all(3 < value < 10 for value in gained.values())
  assert gained["wiener"] > gained["ratio"]


@pytest.mark.parametrize("n", [1200, 1201, 1231])
def test_a_source_alone_passes_whole(n):
  alone = np.stack([RNG.normal(size=n), np.zeros(n)])
  sources = jnp.asarray(alone, jnp.float32)[None]
  found = ORACLES(sources.sum(1), sources)
  assert min(float(value[0, 0]) for value in found.values()) > 60
