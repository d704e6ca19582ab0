"""Tiles of queries and keys against all pairs at once: values, slopes, memory, what is left out."""

import functools
import pathlib
import runpy
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

close = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "closeness.py"))["close"]
MODULE = sys.modules["maskjax.model.attention"]
# Logits, sums of weights and mixed values; backward as many again.
SUMS, SLOPES = dict(depth=3, terms=20), dict(depth=6, terms=20, axis=None)


def draw(seed=0, shape=(2, 3, 13, 4)):
  rng = np.random.default_rng(seed)
  return [rng.normal(size=shape).astype(np.float32) for _ in range(3)]


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


def extras():
  """What may be known of keys and pairs besides, by name."""
  rng = np.random.default_rng(1)
  bias = lambda *shape: rng.normal(size=shape).astype(np.float32)
  return {
    "nothing": {},
    "valid": {"valid": rng.random((2, 13)) < 0.7},
    "bias": {"bias": bias(3, 13, 13)},
    "one bias": {"bias": bias(1, 1, 13)},
  }


# Edges, of which 1 alone divides 13, and what is known with each.
KNOWN = {
  1: ["nothing", "valid", "bias", "one bias"],
  4: ["nothing", "valid", "bias"],
  12: ["nothing", "valid"],
}


@functools.cache
def slopes(edge=None):
  """Values and gradients with all extras, in one program: in tiles, or without an edge at once."""
  attend = at_once if edge is None else functools.partial(in_tiles, edge=edge)
  ids = prompts(13)

  def one(given, q, k, v):
    def loss(q, k, v):
      out = attend(*sides(q, k, v, ids, **given), hide.blocks())
      return jnp.sum(jnp.sin(3 * out)), out

    return jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(q, k, v)

  known = extras()
  names = KNOWN.get(edge, known)
  every = lambda *qkv: {name: one(known[name], *qkv) for name in names}
  return jax.device_get(jax.jit(every)(*draw()))


@pytest.mark.parametrize(
  ("known", "edge"), [(name, edge) for edge, names in KNOWN.items() for name in names]
)
def test_tiles_equal_all_pairs_at_once(edge, known):
  close(slopes(edge)[known], slopes()[known], **SLOPES)


def both(q, k, v, pairs, edge):
  """In tiles, and at once."""
  n = q.shape[-2]
  ids = prompts(n)
  args = lambda q, k, v: (*sides(q, k, v, ids), pairs)
  run = lambda *qkv: (in_tiles(*args(*qkv), edge=edge), at_once(*args(*qkv)))
  return jax.device_get(jax.jit(run)(q, k, v))


def test_large_logits_stay_finite_and_exact():
  # Whole numbers, so that every order of sums gives the same logits, up to thousands.
  q, k, v = (np.rint(100 * x) for x in draw())
  close(*both(q, k, v, hide.blocks(), edge=4), depth=2, terms=13)


def test_statistics_are_float32_under_bfloat16():
  q, k, v = (jnp.asarray(x, jnp.bfloat16) for x in draw())
  ids = prompts(13)
  attend = lambda q, k, v: in_tiles(*sides(q, k, v, ids), hide.blocks(), edge=4)
  jaxpr = str(jax.make_jaxpr(attend)(q, k, v))
  assert "= exp" in jaxpr
  assert not [line for line in jaxpr.splitlines() if "= exp" in line and "bf16" in line]
  out = jax.jit(attend)(q, k, v)
  assert out.dtype == jnp.bfloat16
  (_, exact) = slopes()["nothing"]
  np.testing.assert_allclose(np.float32(out), exact, atol=0.05)


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
  ids = prompts(n)
  met = []
  told = lambda x: jax.debug.callback(lambda _: met.append(None), x[0, 0, 0, 0])

  def watched(x):
    told(x)
    return x

  products, tiles.scaled_products = (
    tiles.scaled_products,
    lambda q, k, b: products(watched(q), k, b),
  )
  run = lambda *qkv: in_tiles(*sides(*qkv, ids), pairs, edge=edge)
  try:
    out = jax.jit(run)(q, k, v)
  finally:
    tiles.scaled_products = products
  expected = jax.jit(lambda *qkv: at_once(*sides(*qkv, ids), pairs))(q, k, v)
  jax.effects_barrier()
  hidden = np.broadcast_to(dense(pairs, n, prompts(n)), (2, n, n))
  seen = (~hidden).any(0).reshape(4, edge, 4, edge).any((1, 3))
  assert len(met) == seen.sum() < 16
  close(out, expected, **SUMS)


def test_tiles_go_with_vmap_and_shard_map():
  given = *draw(), prompts(13)
  whole = lambda q, k, v, ids: in_tiles(*sides(q, k, v, ids), hide.blocks(), edge=4)
  attend = lambda *one: whole(*(x[None] for x in one))[0]
  mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
  spec = PartitionSpec("data")
  slope = jax.grad(lambda *args: jnp.sum(jnp.sin(3 * whole(*args))), argnums=(0, 1, 2))
  spread = jax.shard_map(slope, mesh=mesh, in_specs=spec, out_specs=spec)
  each, mapped = jax.jit(lambda *args: (jax.vmap(attend)(*args), spread(*args)))(*given)
  plain, together = slopes(4)["nothing"]
  close(each, together, **SUMS)
  close(mapped, plain, **SLOPES)


def test_masks_of_pairs_are_met_in_tiles_from_a_length_on(monkeypatch):
  q, k, v = draw(shape=(2, 3, 20, 4))
  ids = prompts(20)
  run = lambda: jax.jit(lambda: attention(q, k, v, pairs=hide.blocks(), segments=ids))()
  whole = run()
  hidden = np.asarray(dense(hide.blocks(), 20, ids))
  weights = np.where(hidden[:, None], 0, np.exp(q @ np.swapaxes(k, -1, -2) / 2))
  close(whole, weights / weights.sum(-1, keepdims=True) @ v, **SUMS)
  monkeypatch.setattr(MODULE, "BLOCK", 8)
  close(run(), whole, **SUMS)
