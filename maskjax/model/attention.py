"""Attention: the plain reference, exact about hidden keys, masks of pairs, and caches."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax.errors import BadInput
from maskjax.hide.pairs import Predicate
from maskjax.model import flash, recomputed, tiles
from maskjax.model.dense import Dense
from maskjax.model.places import NOWHERE, Places

# With masks of pairs, more queries than these are met in tiles of so many queries and keys.
BLOCK = 256


def attention(
  q: Float[Array, "*b h q d"],
  k: Float[Array, "*b h k d"],
  v: Float[Array, "*b h k d"],
  *,
  valid: Bool[Array, "*b k"] | None = None,
  bias: Float[Array, "*#b #h #q #k"] | None = None,
  pairs: Predicate | None = None,
  segments: Int[Array, "*b k"] | None = None,
  query_offset: int | Int[Array, ""] = 0,
  gate: Float[Array, "*#b #h #q #k"] | None = None,
) -> Float[Array, "*b h q d"]:
  """Each query's average of the values, weighted by how well their keys match it.

  `softmax(q kᵀ / √d + bias) v`, logits and softmax in float32. Keys where `valid` is False are
  not there: they, NaN or not, change neither output nor gradient; a query left without keys gives
  zeros. `bias` is finite. `valid=None` is the plain layer. On CPUs many heads are met a few at a
  time, and again in the backward pass, see `maskjax.model.recomputed`; on TPUs, from
  `maskjax.model.flash.LEAST` queries and keys on, a Pallas kernel keeps no logits. Both have a
  backward pass, and no forward mode (`jax.jvp`).

  `pairs` hides keys from single queries, likewise; see `maskjax.hide.pairs`. Query i stands at
  position `query_offset + i` of the keys' sequence, whose `segments` it may ask for. More than
  `BLOCK` queries are met in tiles, see `maskjax.model.tiles`: memory is linear in their number.

  A `gate`, 1 = seen, multiplies the weights, which are normalised again; 0 hides a key from a
  query. It is an array of all pairs, and so are the logits then.

  >>> one = jnp.ones((1, 1, 2, 4))
  >>> attention(one, one, one, valid=jnp.array([[False, False]])).sum().item()
  0.0

  Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.2.
  """
  if gate is not None:
    laid = _laid_out(q, k, v, valid, bias, segments, query_offset)
    return tiles.gated(*laid, pairs, gate)
  if pairs is not None:
    laid = _laid_out(q, k, v, valid, bias, segments, query_offset)
    if q.shape[-2] <= BLOCK:
      return tiles.at_once(*laid, pairs)
    return tiles.in_tiles(*laid, pairs, edge=BLOCK)
  seen = None
  if valid is not None:
    k, v = (jnp.where(valid[..., None, :, None], x, jnp.zeros_like(x)) for x in (k, v))
    seen = valid[..., None, None, :]
  ways = {} if bias is not None else _ways(q, k, v)
  if not ways:
    return _mixed(q, k, v, seen, bias)
  return jax.lax.platform_dependent(q, k, v, seen, default=_mixed, **ways)


def weights(
  q: Float[Array, "*b h q d"],
  k: Float[Array, "*b h k d"],
  *,
  valid: Bool[Array, "*b k"] | None = None,
  bias: Float[Array, "*#b #h #q #k"] | None = None,
  pairs: Predicate | None = None,
  segments: Int[Array, "*b k"] | None = None,
  query_offset: int | Int[Array, ""] = 0,
) -> Float[Array, "*b h q k"]:
  """The weights by which `attention` of the same arguments averages the values, in float32.

  All pairs at once. A query left without keys has zeros.

  >>> weights(*2 * [jnp.ones((1, 2, 4))], valid=jnp.array([True, False])).tolist()
  [[[1.0, 0.0], [1.0, 0.0]]]
  """
  return tiles.weights(*_laid_out(q, k, k, valid, bias, segments, query_offset), pairs)


def _ways(q: Array, k: Array, v: Array) -> dict[str, Callable[..., Array]]:
  """Faster ways to the same average, by the platform that has them."""
  ways: dict[str, Callable[..., Array]] = {}
  if recomputed.able(q, k):
    ways["cpu"] = recomputed.attention
  if flash.able(q, k, v):
    ways["tpu"] = flash.attention
  return ways


def _mixed(q: Array, k: Array, v: Array, seen: Array | None, bias: Array | None = None) -> Array:
  logits = tiles.scaled_products(q, k, bias)
  if seen is not None:
    # Where every key is hidden the softmax is uniform, over values that are zero.
    logits = jnp.where(seen, logits, tiles.NEVER)
  return jax.nn.softmax(logits, axis=-1).astype(v.dtype) @ v


def _laid_out(
  q: Array,
  k: Array,
  v: Array,
  valid: Array | None,
  bias: Array | None,
  segments: Array | None,
  query_offset: int | Array,
) -> tuple[tiles.Queries, tiles.Keys]:
  """Queries and keys with what is known of them, where a key may be hidden from single queries."""
  at = jnp.arange(k.shape[-2])[:, None]
  # A key may be hidden from one query and seen by another. So that 0 · NaN arises nowhere, broken
  # keys are zeros, and the queries that see one get NaN.
  finite = lambda x: jnp.all(jnp.isfinite(x), axis=(-3, -1), keepdims=True)
  broken = ~(finite(k) & finite(v))
  k, v = (jnp.where(broken, jnp.zeros_like(x), x) for x in (k, v))
  own = None if segments is None else segments[..., None]
  there = None if valid is None else valid[..., None, :, None]
  keys = tiles.Keys(k, v, at, broken, own, there)
  if own is not None:
    own = jax.lax.dynamic_slice_in_dim(own, query_offset, q.shape[-2], axis=-2)
  return tiles.Queries(q, query_offset + jnp.arange(q.shape[-2])[:, None], own, bias), keys


def rotate(
  x: Float[Array, "*b n d"], positions: Int[Array, "n"], *, base: float = 10_000.0
) -> Float[Array, "*b n d"]:
  r"""Rotary position embedding: pair i of the features turns by $p\,\beta^{-2i/d}$ at position p.

  Pairs are (i, i + d/2). The product of two rotated vectors depends on their distance only.

  Source: Su et al., "RoFormer", 2021, section 3.2.2.

  >>> rotate(jnp.ones((1, 2)), jnp.array([0])).tolist()
  [[1.0, 1.0]]
  """
  half = x.shape[-1] // 2
  angles = positions[:, None] * base ** (-jnp.arange(half, dtype=jnp.float32) / half)
  cos, sin = jnp.cos(angles).astype(x.dtype), jnp.sin(angles).astype(x.dtype)
  first, second = x[..., :half], x[..., half:]
  return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


class Attention(nn.Module):
  """Multi-head self-attention; the fused projection is ordered (q, k, v), head, width of a head.

  Of keys and values there are `kv_heads`, each for equally many heads in a row; 0 is one for each.
  Its places are "attention", the weights, and "heads", what each head says; see `Places`.
  """

  heads: int
  dtype: str = "float32"
  rotary: bool = False
  bias: bool = True
  pairs: Predicate | None = None
  kv_heads: int = 0
  base: float = 10_000.0  # of rotary positions

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "*b n d"],
    valid: Bool[Array, "*b m"] | None = None,
    segments: Int[Array, "*b m"] | None = None,
    start: int | Int[Array, ""] | None = None,
    at: Places = NOWHERE,
    position_bias: Float[Array, "*#b #h #n #m"] | None = None,
  ) -> Float[Array, "*b n d"]:
    """Mixes the tokens; those where `valid` is False are seen by none.

    A `position_bias` is added to the logits: the `bias` of `attention`.

    With `start` the tokens stand at positions `start`, `start` + 1 … of a longer sequence. Keys and
    values of the others come from the collection "cache", `[*b h m d]`, into which those of these
    tokens are written; the first call lays it out for as many tokens as it gets. `valid` and
    `segments` then speak of all m positions. `BadInput` without `pairs`, which must hide what has
    not been written.
    """
    dense = lambda width, name: Dense(
      width,
      use_bias=self.bias,
      dtype=self.dtype,
      kernel_init=nn.initializers.xavier_uniform(),
      name=name,
    )
    *batch, n, width = x.shape
    head, few = width // self.heads, self.kv_heads or self.heads
    # Heads before tokens: XLA's small matrix products on a CPU are a third faster that way.
    split = lambda part: jnp.swapaxes(part.reshape(*batch, n, -1, head), -2, -3)
    fused = dense(width + 2 * few * head, "qkv")(x)
    q, k, v = map(split, jnp.split(fused, (width, width + few * head), axis=-1))
    first = 0 if start is None else start
    if self.rotary:
      q, k = (rotate(part, first + jnp.arange(n), base=self.base) for part in (q, k))
    if start is not None:
      if self.pairs is None:
        raise BadInput("attention that sees every key cannot go token by token: set causal=True")
      k, v = self._kept("key", k, start), self._kept("value", v, start)
    if few < self.heads:
      k, v = (jnp.repeat(part, self.heads // few, axis=-3) for part in (k, v))
    seen: dict[str, Any] = dict(
      valid=valid, bias=position_bias, pairs=self.pairs, segments=segments, query_offset=first
    )
    # Beside the faster ways, which keep no weights.
    if at.taps("attention"):
      at.tap("attention", weights(q, k, **seen))
    gate = at.gate("attention", (*q.shape[:-1], k.shape[-2]))
    mixed = jnp.swapaxes(attention(q, k, v, gate=gate, **seen), -2, -3)
    return dense(width, "out")(at("heads", mixed).reshape(*batch, n, width))

  def _kept(self, name: str, part: Array, start: int | Array) -> Array:
    """The cache of all positions, with `part` written into it from `start` on."""
    cache = self.variable("cache", name, jnp.zeros_like, part)
    cache.value = jax.lax.dynamic_update_slice_in_dim(cache.value, part, start, axis=-2)
    return cache.value
