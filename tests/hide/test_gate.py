"""A gate multiplies; closed, it lets nothing through, and still has a slope."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.hide import gate

X = jax.random.normal(jax.random.key(0), (2, 4, 3))
GATE = jnp.array([[0.0, 0.5, 1.0, 0.2], [-0.0, 0.0, 0.3, 1.0]])
CLOSED = np.asarray(GATE == 0)


def slopes(x, g):
  weight = jnp.arange(24.0).reshape(2, 4, 3) - 5
  return jax.grad(lambda x, g: jnp.sum(gate(x, g) * weight), (0, 1))(x, g)


def test_multiplies():
  np.testing.assert_array_equal(gate(X, GATE), X * GATE[..., None])
  for got, expected in zip(
    slopes(X, GATE),
    jax.grad(
      lambda x, g: jnp.sum(x * g[..., None] * (jnp.arange(24.0).reshape(2, 4, 3) - 5)), (0, 1)
    )(X, GATE),
    strict=True,
  ):
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("leak", [np.nan, np.inf, -np.inf, 3e38, -1.0])
def test_what_is_behind_a_closed_gate_stays_there(leak):
  behind = jnp.where(CLOSED[..., None], leak, X)
  got = np.asarray(gate(behind, GATE))
  np.testing.assert_array_equal(got, np.asarray(gate(X, GATE)))
  assert not np.signbit(got[CLOSED]).any()
  dx, dgate = slopes(behind, GATE)
  np.testing.assert_array_equal(dx, slopes(X, GATE)[0])
  np.testing.assert_array_equal(dx[CLOSED], 0)
  assert np.isfinite(dgate).all() or abs(leak) == np.float32(3e38)
  if not np.isfinite(leak):
    np.testing.assert_array_equal(dgate[CLOSED], 0)


def test_forward_and_reverse_agree_and_compile():
  tangents = (jnp.ones_like(X), jnp.ones_like(GATE))
  push = jax.jit(lambda x, g: jax.jvp(gate, (x, g), tangents)[1])
  np.testing.assert_allclose(push(X, GATE), GATE[..., None] + X, rtol=1e-6)
  dx, dgate = jax.jit(slopes)(X, GATE)
  np.testing.assert_allclose(dx, slopes(X, GATE)[0], rtol=1e-6)
  np.testing.assert_allclose(dgate, slopes(X, GATE)[1], rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_keeps_the_type_of_the_content(dtype):
  got = gate(X.astype(dtype), GATE)
  assert got.dtype == dtype
  np.testing.assert_allclose(got.astype(jnp.float32), X * GATE[..., None], rtol=1e-2)
  dx, dgate = slopes(X.astype(dtype), GATE)
  assert (dx.dtype, dgate.dtype) == (dtype, jnp.float32)
