"""Ideal masks: shares of what the parts are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import select

RNG = np.random.default_rng(0)
PARTS = (RNG.normal(size=(2, 3, 7)) + 1j * RNG.normal(size=(2, 3, 7))).astype(np.complex64)
PARTS[:, :, 0] = 0
POWERS = (1.0, 2.0, 0.5)


@functools.cache
def masks():
  """Of every power, the shares of what is quiet to the first two, and who is loudest."""
  scores = -np.log(np.maximum(np.abs(PARTS), 1e-30)).reshape(2, -1)
  quiet = functools.partial(select.shares, segment=jnp.tile(jnp.arange(7), 3), segments=7)

  @jax.jit
  def every(parts, scores):
    ratio = {power: select.ideal_ratio(parts, power=power) for power in POWERS}
    shared = {power: quiet(scores, temperature=1 / power) for power in POWERS[:2]}
    return ratio, shared, select.ideal_binary(parts)

  return jax.device_get(every(PARTS, scores))


@pytest.mark.parametrize("power", POWERS)
def test_ratio_masks_share_out_every_position(power):
  gate = masks()[0][power]
  np.testing.assert_allclose(gate.sum(-2), 1, atol=1e-6)
  level = np.abs(PARTS[:, :, 1:]) ** power
  np.testing.assert_allclose(gate[:, :, 1:], level / level.sum(1, keepdims=True), rtol=1e-5)
  np.testing.assert_allclose(gate[:, :, 0], 1 / 3, rtol=1e-6)


def test_they_are_shares_of_how_quiet_the_parts_are():
  ratio, shared, _ = masks()
  for power, gates in shared.items():
    np.testing.assert_allclose(gates.reshape(PARTS.shape)[..., 1:], ratio[power][..., 1:], 1e-4)


def test_binary_masks_leave_every_position_to_the_loudest():
  hidden = masks()[2]
  assert ((~hidden).sum(-2) == 1).all()
  assert (np.argmin(hidden, axis=-2) == np.argmax(np.abs(PARTS), axis=-2)).all()
  assert not hidden[:, 0, 0].any()


def test_large_and_small_parts_are_told_apart():
  parts = np.float32([[3e30, 3e-30], [1e30, 1e-30]])
  gates = jax.jit(functools.partial(select.ideal_ratio, power=2.0))(parts)
  np.testing.assert_allclose(gates[0], 0.9, rtol=1e-5)
