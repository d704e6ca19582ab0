"""Attention against loops and dense masks: hidden keys, masks of pairs, memory, caches."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax import hide, reduce
from maskjax.errors import BadInput
from maskjax.hide.pairs import dense
from maskjax.model.attention import Attention, attention, rotate
from maskjax.train.flops import count

module = sys.modules["maskjax.model.attention"]


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


TILED = {"each head": 20, "three of six heads": 75, "all": 150}


@pytest.mark.parametrize("tile", TILED.values(), ids=TILED)
@pytest.mark.parametrize("masked", [False, True])
def test_tiles_equal_the_whole_in_value_and_gradient(tile, masked, monkeypatch):
  q, k, v = draw()
  valid = jnp.array([[True, False, True, False, True], [False] * 5]) if masked else None
  spoil = lambda x: jnp.where(valid[:, None, :, None], x, jnp.nan) if masked else x

  def loss(q, k, v):
    out = attention(q, k, v, valid=valid)
    return jnp.sum(jnp.sin(out)), out

  grad = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
  whole = grad(q, k, v)
  monkeypatch.setattr(module, "TILE", tile)
  assert ("while" in jax.jit(grad).lower(q, k, v).as_text()) == (tile < 150)
  for tiled in (grad(q, spoil(k), spoil(v)), jax.jit(grad)(q, spoil(k), spoil(v))):
    for ours, expected in zip(jax.tree.leaves(tiled), jax.tree.leaves(whole), strict=True):
      np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_tiles_keep_memory_and_the_count_of_flops(monkeypatch):
  x = jax.ShapeDtypeStruct((4, 4, 128, 8), jnp.float32)
  loss = lambda q, k, v: attention(q, k, v).sum()
  slope = lambda: jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(x, x, x).compile()
  figures = []
  for tile in (128**2, 16 * 128**2):
    monkeypatch.setattr(module, "TILE", tile)
    jax.clear_caches()
    figures.append((slope().memory_analysis().temp_size_in_bytes, count(loss, x, x, x)))
  assert figures[0][0] < figures[1][0] / 3
  assert figures[0][1] == figures[1][1] == 2 * 2 * 16 * 128**2 * 8


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


PAIRS = {
  "causal": hide.causal(),
  "window": hide.either(hide.causal(), hide.window(3)),
  "prefix": hide.prefix(4),
  "documents": hide.either(hide.causal(), hide.segments()),
  "prompts": hide.blocks(),
  "nothing": lambda pair: pair.key < 0,
  "all": lambda pair: pair.key >= 0,
}


def referred(q, k, v, hidden, bias=0.0):
  """Attention over all pairs at once, in plain jax."""
  logits = q @ jnp.swapaxes(k, -1, -2) * q.shape[-1] ** -0.5 + bias
  return reduce.softmax(logits, where=~hidden[..., None, :, :]) @ v


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("block", [256, 4, 5])
def test_masks_of_pairs_equal_the_dense_mask_in_value_and_gradient(name, block, monkeypatch):
  monkeypatch.setattr(module, "BLOCK", block)
  n = 13
  q, k, v = draw(shape=(2, 3, n, 4))
  rng = np.random.default_rng(1)
  segments = jnp.asarray(np.cumsum(rng.random((2, n)) < 0.3, axis=-1))
  valid = jnp.asarray(rng.random((2, n)) < 0.8)
  bias = jnp.asarray(rng.normal(size=(3, n, n)), jnp.float32)
  hidden = dense(PAIRS[name], n, segments) | ~valid[:, None, :]

  def value_and_slopes(attend):
    def loss(*args):
      out = attend(*args)
      return jnp.sum(jnp.sin(3 * out)), out

    return jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True))(q, k, v, bias)

  ours = value_and_slopes(
    lambda q, k, v, bias: attention(
      q, k, v, valid=valid, bias=bias, pairs=PAIRS[name], segments=segments
    )
  )
  expected = value_and_slopes(lambda q, k, v, bias: referred(q, k, v, hidden, bias))
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)
  blind = np.asarray(hidden.all(-1))[:, None, :, None]
  assert not np.where(blind, ours[1], 0).any()


def test_one_bias_for_all_queries_goes_along_with_every_block(monkeypatch):
  q, k, v = draw(shape=(2, 3, 9, 4))
  bias = draw(1, (3, 1, 9))[0]
  whole = attention(q, k, v, bias=bias, pairs=hide.causal())
  monkeypatch.setattr(module, "BLOCK", 2)
  np.testing.assert_allclose(attention(q, k, v, bias=bias, pairs=hide.causal()), whole, atol=1e-6)


@pytest.mark.parametrize("block", [256, 2])
def test_nan_hidden_from_a_query_changes_neither_its_output_nor_its_gradient(block, monkeypatch):
  monkeypatch.setattr(module, "BLOCK", block)
  q, k, v = draw()

  def loss(q, k, v):
    out = attention(q, k, v, pairs=hide.causal())
    return jnp.sum(out[..., :3, :] ** 2), out

  grad = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
  (clean, out), (spoilt, other) = (
    grad(q, k.at[..., 3, :].set(bad_k), v.at[..., 3, 0].set(bad_v))
    for bad_k, bad_v in ((0, 0), (jnp.nan, jnp.inf))
  )
  np.testing.assert_array_equal(out[..., :3, :], other[..., :3, :])
  assert jnp.isnan(other[..., 3:, :]).all()
  # The loss is of the first queries, whose keys and values are the first too.
  for a, b in zip(clean, spoilt, strict=True):
    np.testing.assert_array_equal(a[..., :3, :], b[..., :3, :])


@pytest.mark.parametrize("slopes", [False, True])
def test_memory_of_masks_of_pairs_is_linear_in_the_length(slopes):
  documents = PAIRS["documents"]

  def bytes_of(n):
    x, segments = jax.ShapeDtypeStruct((1, 1, n, 8), jnp.float32), jnp.zeros((1, n), jnp.int32)
    fn = lambda q, k, v: attention(q, k, v, pairs=documents, segments=segments).sum()
    fn = jax.grad(fn, argnums=(0, 1, 2)) if slopes else fn
    return jax.jit(fn).lower(x, x, x).compile().memory_analysis().temp_size_in_bytes

  short, long = bytes_of(1024), bytes_of(2048)
  assert long < 2.2 * short
  assert long < 2048 * 2048 * 4


def test_queries_at_an_offset_are_rows_of_the_whole():
  q, k, v = draw(shape=(2, 3, 9, 4))
  segments = jnp.array([[0, 0, 0, 1, 1, 1, 1, 2, 2], [0] * 9])
  attend = jax.jit(
    lambda q, start: attention(
      q, k, v, pairs=PAIRS["documents"], segments=segments, query_offset=start
    )
  )
  whole = attend(q, 0)
  for start in (0, 4, 6):
    part = attend(q[..., start : start + 3, :], start)
    np.testing.assert_allclose(part, whole[..., start : start + 3, :], atol=1e-6)


def test_softmax_with_masks_of_pairs_is_float32_under_bfloat16():
  q, k, v = (x.astype(jnp.bfloat16) for x in draw())
  attend = lambda q, k, v: attention(q, k, v, pairs=hide.causal())
  jaxpr = str(jax.make_jaxpr(attend)(q, k, v))
  assert "f32[2,3,5,5] = exp" in jaxpr
  assert "bf16[2,3,5,5] = exp" not in jaxpr
  assert attend(q, k, v).dtype == jnp.bfloat16


def test_rotated_vectors_keep_their_length_and_know_their_distance_only():
  q, k, _ = draw(shape=(7, 8))
  at = jnp.arange(7)
  turned = rotate(q, at)
  np.testing.assert_allclose(
    jnp.linalg.norm(turned, axis=-1), jnp.linalg.norm(q, axis=-1), rtol=1e-5
  )
  np.testing.assert_array_equal(turned[0], q[0])
  product = lambda shift: rotate(q, at + shift) @ rotate(k, at + shift).T
  np.testing.assert_allclose(product(0), product(100), atol=1e-4)
  same = jnp.broadcast_to(q[0], (7, 8))
  scores = rotate(same, at) @ rotate(same, at).T
  for d in range(6):
    diagonal = jnp.diagonal(scores, d)
    np.testing.assert_allclose(diagonal, jnp.broadcast_to(diagonal[0], diagonal.shape), atol=1e-4)


@pytest.mark.parametrize("segmented", [False, True])
def test_a_cache_filled_part_by_part_gives_the_whole(segmented):
  x = draw(shape=(2, 7, 8))[0]
  pairs = PAIRS["documents"] if segmented else hide.causal()
  segments = jnp.array([[0, 0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 2, 2, 2]]) if segmented else None
  layer = Attention(2, rotary=True, bias=False, pairs=pairs)
  variables = layer.init(jax.random.key(0), x, None, segments)
  assert set(variables) == {"params"}
  whole = layer.apply(variables, x, None, segments)
  run = functools.partial(layer.apply, mutable=["cache"])
  # The first call lays the cache out: what stands after the prompt is written over later.
  prompt = x.at[:, 3:].set(99.0)
  first, cache = run(variables, prompt, None, segments, 0)
  assert {name: value.shape for name, value in cache["cache"].items()} == {
    "key": (2, 2, 7, 4),
    "value": (2, 2, 7, 4),
  }
  parts = [first[:, :3]]
  for start, stop in ((3, 4), (4, 6), (6, 7)):
    part, cache = run({**variables, **cache}, x[:, start:stop], None, segments, start)
    parts.append(part)
  np.testing.assert_allclose(jnp.concatenate(parts, axis=1), whole, atol=1e-5)


def test_attention_that_sees_everything_has_no_cache():
  x = draw(shape=(2, 5, 8))[0]
  with pytest.raises(BadInput, match="set causal=True"):
    Attention(2).init(jax.random.key(0), x, None, None, 0)
