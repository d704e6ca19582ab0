import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.model.attention import Attention, attention


def draw(seed=0, shape=(2, 3, 5, 4)):
  rng = np.random.default_rng(seed)
  return [jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in range(3)]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_equals_attention_over_the_valid_keys_alone(seed, with_bias):
  q, k, v = draw(seed)
  rng = np.random.default_rng(seed)
  valid = rng.random((2, 5)) < 0.6
  bias = rng.normal(size=(3, 5, 5)).astype(np.float32) if with_bias else np.zeros((1, 5, 5))
  out = attention(q, k, v, valid=jnp.asarray(valid), bias=jnp.asarray(bias))
  for b, h, i in np.ndindex(2, 3, 5):
    keys, values = np.asarray(k)[b, h][valid[b]], np.asarray(v)[b, h][valid[b]]
    logits = keys @ np.asarray(q)[b, h, i] / 2 + bias[h % len(bias), i][valid[b]]
    weights = np.exp(logits - logits.max(initial=-1e9))
    expected = weights @ values / weights.sum() if valid[b].any() else np.zeros(4)
    np.testing.assert_allclose(out[b, h, i], expected, atol=1e-5)


def test_nan_in_hidden_keys_changes_neither_output_nor_gradient():
  q, k, v = draw()
  valid = jnp.array([[True, False, True, False, True], [False] * 5])
  hidden = ~valid[:, None, :, None]

  def loss(q, k, v):
    out = attention(q, k, v, valid=valid)
    return jnp.sum(out**2), out

  spoil = lambda x: jnp.where(hidden, jnp.nan, x)
  grad = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
  for clean, spoiled in zip(
    jax.tree.leaves(grad(q, k, v)), jax.tree.leaves(grad(q, spoil(k), spoil(v))), strict=True
  ):
    np.testing.assert_array_equal(clean, spoiled)
  (_, gk, gv), out = grad(q, spoil(k), spoil(v))
  assert not jnp.any(out[1])
  assert not jnp.any(jnp.where(hidden, gk, 0))
  assert not jnp.any(jnp.where(hidden, gv, 0))


def test_all_valid_is_the_plain_layer_bit_for_bit():
  q, k, v = draw()
  plain = attention(q, k, v)
  np.testing.assert_array_equal(attention(q, k, v, valid=jnp.ones((2, 5), bool)), plain)
  expected = jax.nn.softmax(q @ jnp.swapaxes(k, -1, -2) / 2, axis=-1) @ v
  np.testing.assert_allclose(plain, expected, atol=1e-6)


def test_softmax_is_float32_under_bfloat16():
  q, k, v = (x.astype(jnp.bfloat16) for x in draw())
  jaxpr = str(jax.make_jaxpr(attention)(q, k, v))
  assert "f32[2,3,5,5] = exp" in jaxpr
  assert "bf16[2,3,5,5] = exp" not in jaxpr
  assert attention(q, k, v).dtype == jnp.bfloat16


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_module_keeps_shape_and_ignores_invalid_tokens(heads):
  x = draw(shape=(2, 5, 8))[0]
  layer = Attention(heads)
  variables = layer.init(jax.random.key(0), x)
  assert variables["params"]["qkv"]["kernel"].shape == (8, 24)
  valid = jnp.array([[True] * 3 + [False] * 2] * 2)
  out = layer.apply(variables, x, valid)
  short = layer.apply(variables, x[:, :3])
  np.testing.assert_allclose(out[:, :3], short, atol=1e-6)
