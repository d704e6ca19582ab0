"""Attention against loops and dense masks: hidden keys, masks of pairs, memory, caches."""

import functools
import pathlib
import runpy
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
from maskjax.model import recomputed
from maskjax.model.attention import Attention, attention, rotate
from maskjax.train.plan.flops import count

close = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "closeness.py"))["close"]
module = sys.modules["maskjax.model.attention"]
# Logits, sums of weights and mixed values; backward as many again.
SUMS, SLOPES = dict(depth=3, terms=13), dict(depth=6, terms=13, axis=None)


def draw(seed=0, shape=(2, 3, 5, 4)):
  rng = np.random.default_rng(seed)
  return [rng.normal(size=shape).astype(np.float32) for _ in range(3)]


VALID = np.array([[True, False, True, False, True], [False] * 5])
biased = jax.jit(lambda q, k, v, **seen: (attention(q, k, v, **seen), module.weights(q, k, **seen)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_equals_attention_over_the_valid_keys_alone(seed, with_bias):
  q, k, v = draw(seed)
  rng = np.random.default_rng(seed)
  valid = rng.random((2, 5)) < 0.6
  bias = rng.normal(size=(3, 5, 5)).astype(np.float32) if with_bias else np.zeros((1, 5, 5))
  out, told = map(np.asarray, biased(q, k, v, valid=valid, bias=bias))
  for b, h, i in np.ndindex(2, 3, 5):
    keys, values = k[b, h][valid[b]], v[b, h][valid[b]]
    logits = keys @ q[b, h, i] / 2 + bias[h % len(bias), i][valid[b]]
    weights = np.exp(logits - logits.max(initial=-1e9))
    expected = weights @ values / weights.sum() if valid[b].any() else np.zeros(4)
    np.testing.assert_allclose(out[b, h, i], expected, atol=1e-5)
    averaged = told[b, h, i][valid[b]] @ values
    np.testing.assert_allclose(averaged, expected, atol=1e-5)


def test_nan_in_hidden_keys_changes_neither_output_nor_gradient():
  q, k, v = draw()
  hidden = ~VALID[:, None, :, None]

  def loss(q, k, v):
    out = attention(q, k, v, valid=VALID)
    return jnp.sum(out**2), out

  spoil = lambda x: np.where(hidden, np.nan, x).astype(np.float32)
  grad = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
  clean, spoiled = jax.device_get((grad(q, k, v), grad(q, spoil(k), spoil(v))))
  jax.tree.map(np.testing.assert_array_equal, clean, spoiled)
  (_, gk, gv), out = spoiled
  assert not np.any(out[1])
  assert not np.any(np.where(hidden, gk, 0))
  assert not np.any(np.where(hidden, gv, 0))


def test_all_valid_is_the_plain_layer_bit_for_bit():
  q, k, v = draw()
  plain = jax.jit(attention)(q, k, v)
  masked = jax.jit(lambda q, k, v, valid: attention(q, k, v, valid=valid))
  np.testing.assert_array_equal(masked(q, k, v, np.ones((2, 5), bool)), plain)
  weights = np.exp(q @ np.swapaxes(k, -1, -2) / 2)
  expected = weights / weights.sum(-1, keepdims=True) @ v
  np.testing.assert_allclose(plain, expected, atol=1e-6)


def test_softmax_is_float32_under_bfloat16():
  q, k, v = (jax.ShapeDtypeStruct(x.shape, jnp.bfloat16) for x in draw())
  causal = functools.partial(attention, pairs=hide.causal())
  for attend in (attention, causal):
    jaxpr = str(jax.make_jaxpr(attend)(q, k, v))
    assert "f32[2,3,5,5] = exp" in jaxpr
    assert "bf16[2,3,5,5] = exp" not in jaxpr
    assert jax.eval_shape(attend, q, k, v).dtype == jnp.bfloat16


TILED = {"each head": 20, "three of six heads": 75, "all": 150}
HIDDEN_KEYS = {"plain": None, "masked": VALID}


def slopes_with_and_without_hidden_keys():
  """Values and gradients with all keys, and with some that are hidden and NaN."""

  def one(valid, q, k, v):
    if valid is not None:
      k, v = (jnp.where(valid[:, None, :, None], x, jnp.nan) for x in (k, v))

    def loss(q, k, v):
      out = attention(q, k, v, valid=valid)
      return jnp.sum(jnp.sin(out)), out

    return jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(q, k, v)

  return lambda *qkv: {name: one(valid, *qkv) for name, valid in HIDDEN_KEYS.items()}


@pytest.fixture(scope="module")
def whole_slopes():
  """Those of attention to all keys at once."""
  return jax.jit(slopes_with_and_without_hidden_keys())(*draw())


@pytest.mark.parametrize("tile", TILED.values(), ids=TILED)
def test_tiles_equal_the_whole_in_value_and_gradient(tile, whole_slopes, monkeypatch):
  monkeypatch.setattr(recomputed, "TILE", tile)
  for valid in HIDDEN_KEYS.values():
    text = jax.jit(functools.partial(attention, valid=valid)).lower(*draw()).as_text()
    assert ("while" in text) == (tile < 150)
  tiled = slopes_with_and_without_hidden_keys()
  close(jax.jit(tiled)(*draw()), whole_slopes, **SLOPES)


def test_tiles_are_met_outside_of_a_program_too(whole_slopes, monkeypatch):
  monkeypatch.setattr(recomputed, "TILE", TILED["each head"])
  q, k, v = draw()
  close(attention(q, k, v, valid=VALID), whole_slopes["masked"][1], **SUMS)


def test_tiles_keep_memory_and_the_count_of_flops(monkeypatch):
  x = jax.ShapeDtypeStruct((4, 4, 128, 8), jnp.float32)
  figures = []
  for tile in (128**2, 16 * 128**2):
    monkeypatch.setattr(recomputed, "TILE", tile)
    loss = lambda q, k, v: attention(q, k, v).sum()
    slope = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(x, x, x).compile()
    figures.append((slope.memory_analysis().temp_size_in_bytes, count(loss, x, x, x)))
  assert figures[0][0] < figures[1][0] / 3
  assert figures[0][1] == figures[1][1] == 2 * 2 * 16 * 128**2 * 8


def filled(init, *inputs):
  """Variables of a module by its shapes, every leaf drawn."""
  rng, shapes = np.random.default_rng(2), jax.eval_shape(init, jax.random.key(0), *inputs)
  return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32) / 2, shapes)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_module_keeps_shape_and_ignores_invalid_tokens(heads):
  x = draw(shape=(2, 5, 8))[0]
  layer = Attention(heads)
  variables = filled(layer.init, x)
  assert variables["params"]["qkv"]["kernel"].shape == (8, 24)
  valid = np.array([[True] * 3 + [False] * 2] * 2)
  both = jax.jit(lambda v, x: (layer.apply(v, x, valid), layer.apply(v, x[:, :3])))
  out, short = both(variables, x)
  assert out.shape == x.shape
  close(out[:, :3], short, depth=4, terms=8)


# Masks that share a shape share a program, which is told which of them it is to follow.
PAIRS = {
  "every query": {"nothing": lambda pair: pair.key < 0, "all": lambda pair: pair.key >= 0},
  "each query": {
    "causal": hide.causal(),
    "window": hide.either(hide.causal(), hide.window(3)),
    "prefix": hide.prefix(4),
  },
  "each example": {
    "documents": hide.either(hide.causal(), hide.segments()),
    "prompts": hide.blocks(),
  },
}
NAMES = {name: (kind, i) for kind, some in PAIRS.items() for i, name in enumerate(some)}
DOCUMENTS = PAIRS["each example"]["documents"]


def numbered(kind, which):
  """The mask of a kind with this number."""
  return lambda pair: jnp.stack([mask(pair) for mask in PAIRS[kind].values()])[which]


def referred(q, k, v, hidden, bias=0.0):
  """Attention over all pairs at once, in plain jax."""
  logits = q @ jnp.swapaxes(k, -1, -2) * q.shape[-1] ** -0.5 + bias
  return reduce.softmax(logits, where=~hidden[..., None, :, :]) @ v


def value_and_slopes(attend, arrays):
  def loss(*args):
    out = attend(*args)
    return jnp.sum(jnp.sin(3 * out)), out

  return jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True)(*arrays)


@functools.cache
def of_pairs(block, kind):
  """The program of a kind of masks; `block` is what `BLOCK` is when it is traced."""

  def run(which, valid, segments, *arrays):
    given = dict(valid=valid, pairs=numbered(kind, which), segments=segments)
    attend = lambda q, k, v, bias: attention(q, k, v, bias=bias, **given)
    return value_and_slopes(attend, arrays)

  return jax.jit(run)


@jax.jit
def of_dense(hidden, *arrays):
  return value_and_slopes(lambda q, k, v, bias: referred(q, k, v, hidden, bias), arrays)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("block", [256, 4, 5])
def test_masks_of_pairs_equal_the_dense_mask_in_value_and_gradient(name, block, monkeypatch):
  monkeypatch.setattr(module, "BLOCK", block)
  n, (kind, which) = 13, NAMES[name]
  rng = np.random.default_rng(1)
  segments = np.cumsum(rng.random((2, n)) < 0.3, axis=-1)
  valid = rng.random((2, n)) < 0.8
  arrays = *draw(shape=(2, 3, n, 4)), rng.normal(size=(3, n, n)).astype(np.float32)
  shown = dense(PAIRS[kind][name], n, jnp.asarray(segments))
  hidden = np.broadcast_to(shown, (2, n, n)) | ~valid[:, None, :]
  ours = of_pairs(block, kind)(which, valid, segments, *arrays)
  close(ours, of_dense(hidden, *arrays), **SLOPES)
  assert not np.where(hidden.all(-1)[:, None, :, None], ours[1], 0).any()


def test_one_bias_for_all_queries_goes_along_with_every_block(monkeypatch):
  q, k, v = draw(shape=(2, 3, 9, 4))
  bias = draw(1, (3, 1, 9))[0]
  attend = lambda: jax.jit(lambda: attention(q, k, v, bias=bias, pairs=hide.causal()))()
  whole = attend()
  monkeypatch.setattr(module, "BLOCK", 2)
  close(attend(), whole, **SUMS)


@pytest.mark.parametrize("block", [256, 2])
def test_nan_hidden_from_a_query_changes_neither_its_output_nor_its_gradient(block, monkeypatch):
  monkeypatch.setattr(module, "BLOCK", block)
  q, k, v = draw()

  @jax.jit
  def grad(bad_k, bad_v):
    def loss(q, k, v):
      out = attention(q, k, v, pairs=hide.causal())
      return jnp.sum(out[..., :3, :] ** 2), out

    keys, values = jnp.asarray(k).at[..., 3, :].set(bad_k), jnp.asarray(v).at[..., 3, 0].set(bad_v)
    return jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(q, keys, values)

  (clean, out), (spoilt, other) = jax.device_get((grad(0.0, 0.0), grad(np.nan, np.inf)))
  np.testing.assert_array_equal(out[..., :3, :], other[..., :3, :])
  assert np.isnan(other[..., 3:, :]).all()
  # The loss is of the first queries, whose keys and values are the first too.
  for a, b in zip(clean, spoilt, strict=True):
    np.testing.assert_array_equal(a[..., :3, :], b[..., :3, :])


def test_memory_of_masks_of_pairs_is_linear_in_the_length():
  """Forward; with the backward pass see `test_tiles.py`."""

  def bytes_of(n):
    x, segments = jax.ShapeDtypeStruct((1, 1, n, 8), jnp.float32), jnp.zeros((1, n), jnp.int32)
    fn = lambda q, k, v: attention(q, k, v, pairs=DOCUMENTS, segments=segments).sum()
    return jax.jit(fn).lower(x, x, x).compile().memory_analysis().temp_size_in_bytes

  short, long = bytes_of(1024), bytes_of(2048)
  assert long < 2.2 * short
  assert long < 2048 * 2048 * 4


def test_queries_at_an_offset_are_rows_of_the_whole():
  q, k, v = draw(shape=(2, 3, 9, 4))
  segments = np.array([[0, 0, 0, 1, 1, 1, 1, 2, 2], [0] * 9])
  attend = jax.jit(
    lambda q, start: attention(q, k, v, pairs=DOCUMENTS, segments=segments, query_offset=start)
  )
  whole = attend(q, 0)
  for start in (0, 4, 6):
    part = attend(q[..., start : start + 3, :], start)
    close(part, whole[..., start : start + 3, :], **SUMS)


def test_rotated_vectors_keep_their_length_and_know_their_distance_only():
  q, k, _ = draw(shape=(7, 8))
  turn, at = jax.jit(rotate), np.arange(7)
  turned, length = np.asarray(turn(q, at)), functools.partial(np.linalg.norm, axis=-1)
  np.testing.assert_allclose(length(turned), length(q), rtol=1e-5)
  np.testing.assert_array_equal(turned[0], q[0])
  product = lambda shift: np.asarray(turn(q, at + shift)) @ np.asarray(turn(k, at + shift)).T
  np.testing.assert_allclose(product(0), product(100), atol=1e-4)
  same = np.asarray(turn(np.broadcast_to(q[0], (7, 8)), at))
  scores = same @ same.T
  for d in range(6):
    diagonal = np.diagonal(scores, d)
    np.testing.assert_allclose(diagonal, np.full_like(diagonal, diagonal[0]), atol=1e-4)


@pytest.mark.parametrize("segmented", [False, True])
def test_a_cache_filled_part_by_part_gives_the_whole(segmented):
  x = draw(shape=(2, 7, 8))[0]
  pairs = DOCUMENTS if segmented else hide.causal()
  segments = np.array([[0, 0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 2, 2, 2]]) if segmented else None
  layer = Attention(2, rotary=True, bias=False, pairs=pairs)
  variables = filled(layer.init, x, None, segments)
  assert set(variables) == {"params"}

  @jax.jit
  def both(x):
    run = functools.partial(layer.apply, mutable=["cache"])
    # The first call lays the cache out: what stands after the prompt is written over later.
    first, cache = run(variables, x.at[:, 3:].set(99.0), None, segments, 0)
    parts = [first[:, :3]]
    for start, stop in ((3, 4), (4, 6), (6, 7)):
      part, later = run({**variables, **cache}, x[:, start:stop], None, segments, start)
      parts, cache = [*parts, part], later
    whole = layer.apply(variables, x, None, segments)
    return jnp.concatenate(parts, axis=1), whole, cache["cache"]

  parts, whole, cache = both(jnp.asarray(x))
  assert jax.tree.map(jnp.shape, cache) == {"key": (2, 2, 7, 4), "value": (2, 2, 7, 4)}
  close(parts, whole, depth=5, terms=8)


def test_attention_that_sees_everything_has_no_cache():
  x = draw(shape=(2, 5, 8))[0]
  with pytest.raises(BadInput, match="set causal=True"):
    jax.eval_shape(Attention(2).init, jax.random.key(0), x, None, None, 0)
