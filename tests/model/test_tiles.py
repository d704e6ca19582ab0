"""Tiles of queries and keys against all pairs at once: values, slopes, memory, what is left out."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from maskjax import hide, units
from maskjax.hide.pairs import dense
from maskjax.model import tiles
from maskjax.model.attention import attention
from maskjax.model.tiles import Keys, Queries, at_once, in_tiles

MODULE = sys.modules["maskjax.model.attention"]


def draw(seed=0, shape=(2, 3, 13, 4)):
  rng = np.random.default_rng(seed)
  return [jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in range(3)]


def prompts(n, batch=2):
  """Blocks of several tokens, then an answer one by one."""
  at = np.arange(n)
  parts = np.stack([at * 5 // n, at * 3 // n])[:batch]
  return units.one_by_one(jnp.asarray(parts), jnp.asarray(parts == parts.max()))


def sides(q, k, v, segments=None, valid=None, bias=None):
  column = lambda x, axis=None: None if x is None else x[..., None]
  there = None if valid is None else valid[:, None, :, None]
  n, m = q.shape[-2], k.shape[-2]
  queries = Queries(q, jnp.arange(n)[:, None], column(segments), bias)
  broken = jnp.zeros((len(k), 1, m, 1), bool)
  return queries, Keys(k, v, jnp.arange(m)[:, None], broken, column(segments), there)


@pytest.mark.parametrize("edge", [1, 4, 5, 12])
@pytest.mark.parametrize("extras", ["nothing", "valid", "bias", "one bias"])
def test_tiles_equal_all_pairs_at_once(edge, extras):
  q, k, v = draw()
  rng = np.random.default_rng(1)
  given = {
    "nothing": {},
    "valid": {"valid": jnp.asarray(rng.random((2, 13)) < 0.7)},
    "bias": {"bias": jnp.asarray(rng.normal(size=(3, 13, 13)), jnp.float32)},
    "one bias": {"bias": jnp.asarray(rng.normal(size=(1, 1, 13)), jnp.float32)},
  }[extras]
  pairs = hide.blocks()

  def slopes(attend):
    def loss(q, k, v):
      out = attend(*sides(q, k, v, prompts(13), **given), pairs)
      return jnp.sum(jnp.sin(3 * out)), out

    return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(q, k, v)

  tiled = lambda *args: in_tiles(*args, edge=edge)
  for a, b in zip(*map(jax.tree.leaves, (slopes(tiled), slopes(at_once))), strict=True):
    np.testing.assert_allclose(a, b, atol=2e-5)


def test_large_logits_stay_finite_and_exact():
  q, k, v = (100 * x for x in draw())
  args = *sides(q, k, v, prompts(13)), hide.blocks()
  np.testing.assert_allclose(in_tiles(*args, edge=4), at_once(*args), rtol=1e-5)


def test_statistics_are_float32_under_bfloat16():
  q, k, v = (x.astype(jnp.bfloat16) for x in draw())
  attend = lambda q, k, v: in_tiles(*sides(q, k, v, prompts(13)), hide.blocks(), edge=4)
  jaxpr = str(jax.make_jaxpr(attend)(q, k, v))
  assert "= exp" in jaxpr
  assert not [line for line in jaxpr.splitlines() if "= exp" in line and "bf16" in line]
  out = attend(q, k, v)
  assert out.dtype == jnp.bfloat16
  exact = at_once(*sides(*draw(), prompts(13)), hide.blocks())
  np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.05)


@pytest.mark.parametrize("mask", ["prompts", "causal"])
def test_memory_forward_and_backward_grows_as_the_length(mask):
  """Blocks of prompts and plain causal attention, at lengths of which all pairs would not fit."""

  def bytes_of(n):
    x = jax.ShapeDtypeStruct((1, 2, n, 8), jnp.float32)
    ids = jax.ShapeDtypeStruct((1, n), jnp.int32)
    pairs = {"prompts": hide.blocks(), "causal": hide.causal()}[mask]
    loss = lambda q, k, v, ids: attention(q, k, v, pairs=pairs, segments=ids).sum()
    slopes = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
    return slopes.lower(x, x, x, ids).compile().memory_analysis().temp_size_in_bytes

  short, middle, long = (bytes_of(n) for n in (2048, 4096, 8192))
  # Twice the length adds twice as much: a line, whose slope is a few vectors a token.
  assert (long - middle) < 2.2 * (middle - short)
  assert (long - middle) / 4096 < 64 * 2 * 8 * 4
  assert long < 8192 * 8192 * 4 / 8


@pytest.mark.parametrize("pairs", [hide.causal(), hide.blocks()], ids=["causal", "prompts"])
def test_tiles_that_are_all_hidden_are_left_out(pairs):
  n, edge = 16, 4
  q, k, v = draw(shape=(2, 3, n, 4))
  queries, keys = sides(q, k, v, prompts(n))
  met = []
  told = lambda x: jax.debug.callback(lambda _: met.append(None), x[0, 0, 0, 0])

  def watched(x):
    told(x)
    return x

  products, tiles.scaled_products = (
    tiles.scaled_products,
    lambda q, k, b: products(watched(q), k, b),
  )
  try:
    out = in_tiles(queries, keys, pairs, edge=edge)
  finally:
    tiles.scaled_products = products
  jax.effects_barrier()
  hidden = np.broadcast_to(dense(pairs, n, prompts(n)), (2, n, n))
  seen = (~hidden).any(0).reshape(4, edge, 4, edge).any((1, 3))
  assert len(met) == seen.sum() < 16
  np.testing.assert_allclose(out, at_once(queries, keys, pairs), atol=1e-5)


def test_tiles_go_with_vmap_and_shard_map():
  q, k, v = draw()
  ids = prompts(13)
  attend = lambda q, k, v, ids: in_tiles(
    *sides(q[None], k[None], v[None], ids[None]), hide.blocks(), edge=4
  )[0]
  each = jnp.stack([attend(*one) for one in zip(q, k, v, ids, strict=True)])
  np.testing.assert_allclose(jax.vmap(attend)(q, k, v, ids), each, atol=1e-5)
  mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
  spec = PartitionSpec("data")
  whole = lambda q, k, v, ids: in_tiles(*sides(q, k, v, ids), hide.blocks(), edge=4)
  slope = jax.grad(lambda *args: jnp.sum(jnp.sin(whole(*args))), argnums=(0, 1, 2))
  mapped = jax.jit(jax.shard_map(slope, mesh=mesh, in_specs=spec, out_specs=spec))
  for a, b in zip(mapped(q, k, v, ids), slope(q, k, v, ids), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_masks_of_pairs_are_met_in_tiles_from_a_length_on(monkeypatch):
  q, k, v = draw(shape=(2, 3, 20, 4))
  run = lambda: attention(q, k, v, pairs=hide.blocks(), segments=prompts(20))
  whole = run()
  hidden = dense(hide.blocks(), 20, prompts(20))
  logits = jnp.where(hidden[:, None], -jnp.inf, q @ jnp.swapaxes(k, -1, -2) / 2)
  np.testing.assert_allclose(whole, jax.nn.softmax(logits) @ v, atol=1e-5)
  monkeypatch.setattr(MODULE, "BLOCK", 8)
  np.testing.assert_allclose(run(), whole, atol=1e-5)
