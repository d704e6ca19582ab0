"""A gate multiplies; closed, it lets nothing through, and still has a slope."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.hide import gate

X = np.random.default_rng(0).standard_normal((2, 4, 3), np.float32)
GATE = np.float32([[0.0, 0.5, 1.0, 0.2], [-0.0, 0.0, 0.3, 1.0]])
CLOSED = GATE == 0
gated = jax.jit(gate)
WEIGHT = np.arange(24, dtype=np.float32).reshape(2, 4, 3) - 5


def slopes_of(gate):
  total = lambda x, g: jnp.sum(gate(x, g) * WEIGHT)
  return jax.jit(jax.grad(total, (0, 1)))


slopes = slopes_of(gate)


def test_multiplies():
  np.testing.assert_array_equal(gated(X, GATE), X * GATE[..., None])
  plain = slopes_of(lambda x, g: x * g[..., None])
  for got, expected in zip(slopes(X, GATE), plain(X, GATE), strict=True):
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("leak", [np.nan, np.inf, -np.inf, 3e38, -1.0])
def test_what_is_behind_a_closed_gate_stays_there(leak):
  behind = np.where(CLOSED[..., None], np.float32(leak), X)
  got = np.asarray(gated(behind, GATE))
  np.testing.assert_array_equal(got, np.asarray(gated(X, GATE)))
  assert not np.signbit(got[CLOSED]).any()
  dx, dgate = jax.device_get(slopes(behind, GATE))
  np.testing.assert_array_equal(dx, slopes(X, GATE)[0])
  np.testing.assert_array_equal(dx[CLOSED], 0)
  assert np.isfinite(dgate).all() or abs(leak) == np.float32(3e38)
  if not np.isfinite(leak):
    np.testing.assert_array_equal(dgate[CLOSED], 0)


def test_forward_and_reverse_agree_and_compile():
  tangents = np.ones_like(X), np.ones_like(GATE)
  push = jax.jit(lambda x, g: jax.jvp(gate, (x, g), tangents)[1])
  np.testing.assert_allclose(push(X, GATE), GATE[..., None] + X, rtol=1e-6)
  dx, dgate = slopes(X, GATE)
  np.testing.assert_allclose(dx, WEIGHT * GATE[..., None], rtol=1e-6)
  np.testing.assert_allclose(dgate, (WEIGHT * X).sum(-1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_keeps_the_type_of_the_content(dtype):
  got = gated(X.astype(dtype), GATE)
  assert got.dtype == dtype
  np.testing.assert_allclose(got.astype(jnp.float32), X * GATE[..., None], rtol=1e-2)
  dx, dgate = slopes(X.astype(dtype), GATE)
  assert (dx.dtype, dgate.dtype) == (dtype, jnp.float32)
