"""Attention on CPUs: a few heads at a time, whose weights are never stored but computed again."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax.model import flash, tiles

# Logits that are met at once: 1 MiB of them, about what a core keeps near.
TILE = 1 << 18

Heads = Float[Array, "h n d"]
Seen = Bool[Array, "h 1 k"] | None


def able(q: Float[Array, "*b h q d"], k: Float[Array, "*b h k d"]) -> bool:
  """Whether this is for CPUs, of more logits than are met at once, and known how arrays lie."""
  return math.prod(q.shape[:-1]) * k.shape[-2] > TILE and flash.placed() == "cpu"


def attention(
  q: Float[Array, "*b h q d"],
  k: Float[Array, "*b h k d"],
  v: Float[Array, "*b h k d"],
  seen: Bool[Array, "*b 1 1 k"] | None,
) -> Float[Array, "*b h q d"]:
  r"""`softmax(q kᵀ / √d) v` over the keys that are seen; values are zero where they are not.

  Of each row only $\log \sum_j e^{l_j}$ is kept. The backward pass makes the weights from it, in
  one pass over the logits, and the sum over a row in the slope of its softmax from the output:
  $\sum_j w_j \langle \bar o, v_j \rangle = \langle \bar o, o \rangle$.

  Args:
    q: queries.
    k: keys.
    v: values.
    seen: which keys are there; None, all.

  Returns:
    Each query's average of the values.

  Source: Dao et al., "FlashAttention", 2022, sections 3.1 and B.
  """
  return flash.spread(_of_heads, q, k, v, seen)


def _of_heads(q: Array, k: Array, v: Array, seen: Array | None) -> Array:
  """One device's examples and heads."""
  heads, logits = math.prod(q.shape[:-2]), q.shape[-2] * k.shape[-2]
  size = max(n for n in range(1, heads + 1) if heads % n == 0 and (n == 1 or n * logits <= TILE))
  if seen is not None:
    seen = jnp.broadcast_to(seen, (*q.shape[:-2], 1, k.shape[-2])).reshape(heads, 1, -1)
  flat = (x.reshape(heads, *x.shape[-2:]) for x in (q, k, v))
  return _recomputed(size, *flat, seen).reshape(*q.shape[:-1], v.shape[-1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recomputed(size: int, q: Heads, k: Heads, v: Heads, seen: Seen) -> Heads:
  """`size` heads at a time."""
  return _forward(size, q, k, v, seen)[0]


def _forward(size: int, q: Heads, k: Heads, v: Heads, seen: Seen) -> tuple[Heads, Any]:
  def mix(q: Array, k: Array, v: Array, seen: Array | None) -> tuple[Array, Array]:
    logits = _logits(q, k, seen)
    top = jnp.max(logits, axis=-1, keepdims=True)
    odds = jnp.exp(logits - top)
    total = jnp.sum(odds, axis=-1, keepdims=True)
    out = jnp.matmul(odds.astype(v.dtype), v, preferred_element_type=jnp.float32) / total
    return out.astype(v.dtype), top + jnp.log(total)

  out, level = _in_turns(mix, size, q, k, v, seen)
  return out, (q, k, v, seen, out, level)


def _backward(size: int, kept: Any, slope: Heads) -> tuple[Any, ...]:
  q, k, v, seen, out, level = kept

  def pull(
    q: Array, k: Array, v: Array, seen: Array | None, level: Array, inner: Array, slope: Array
  ) -> tuple[Array, Array, Array]:
    weights = jnp.exp(_logits(q, k, seen) - level)
    toward = jnp.einsum("hqd,hkd->hqk", slope, v, preferred_element_type=jnp.float32)
    by_logits = (weights * (toward - inner)).astype(q.dtype)
    by_v = jnp.einsum("hqk,hqd->hkd", weights.astype(v.dtype), slope)
    scale = q.shape[-1] ** -0.5
    return by_logits @ k * scale, jnp.einsum("hqk,hqd->hkd", by_logits, q * scale), by_v

  wide = lambda x: x.astype(jnp.float32)
  inner = jnp.sum(wide(slope) * wide(out), axis=-1, keepdims=True)
  return *_in_turns(pull, size, q, k, v, seen, level, inner, slope), None


_recomputed.defvjp(_forward, _backward)


def _logits(q: Heads, k: Heads, seen: Seen) -> Float[Array, "h n k"]:
  logits = tiles.scaled_products(q, k)
  # Where every key is hidden the softmax is uniform, over values that are zero.
  return logits if seen is None else jnp.where(seen, logits, tiles.NEVER)


def _in_turns(function: Callable[..., Any], size: int, *arrays: Any) -> Any:
  """`function` of so many heads at a time, one after another."""
  heads = arrays[0].shape[0]
  if heads == size:
    return function(*arrays)
  cut = lambda x: x.reshape(heads // size, size, *x.shape[1:])
  told = jax.lax.map(lambda some: function(*some), jax.tree.map(cut, arrays))
  return jax.tree.map(lambda x: x.reshape(heads, *x.shape[2:]), told)
