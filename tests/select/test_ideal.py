"""Ideal masks: shares of what the parts are."""

import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import select

RNG = np.random.default_rng(0)
PARTS = jnp.asarray(RNG.normal(size=(2, 3, 7)) + 1j * RNG.normal(size=(2, 3, 7)), jnp.complex64)
PARTS = PARTS.at[:, :, 0].set(0)


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
def test_ratio_masks_share_out_every_position(power):
  gate = select.ideal_ratio(PARTS, power=power)
  np.testing.assert_allclose(gate.sum(-2), 1, atol=1e-6)
  level = np.abs(PARTS[:, :, 1:]) ** power
  np.testing.assert_allclose(gate[:, :, 1:], level / level.sum(1, keepdims=True), rtol=1e-5)
  np.testing.assert_allclose(gate[:, :, 0], 1 / 3, rtol=1e-6)


def test_they_are_shares_of_how_quiet_the_parts_are():
  places = jnp.tile(jnp.arange(7), 3)
  scores = -jnp.log(jnp.abs(PARTS)).reshape(2, -1)
  for power in (1.0, 2.0):
    shared = select.shares(scores, segment=places, segments=7, temperature=1 / power)
    np.testing.assert_allclose(
      shared.reshape(PARTS.shape)[..., 1:], select.ideal_ratio(PARTS, power=power)[..., 1:], 1e-4
    )


def test_binary_masks_leave_every_position_to_the_loudest():
  hidden = select.ideal_binary(PARTS)
  assert ((~hidden).sum(-2) == 1).all()
  assert (jnp.argmin(hidden, axis=-2) == jnp.argmax(jnp.abs(PARTS), axis=-2)).all()
  assert not hidden[:, 0, 0].any()


def test_large_and_small_parts_are_told_apart():
  parts = jnp.array([[3e30, 3e-30], [1e30, 1e-30]])
  np.testing.assert_allclose(select.ideal_ratio(parts, power=2.0)[0], 0.9, rtol=1e-5)
