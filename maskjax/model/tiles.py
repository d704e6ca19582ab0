"""Attention under masks of pairs: at once, gated, or a tile of queries and keys at a time."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax import masks
from maskjax.hide.pairs import Pair, Predicate

NEVER = jnp.finfo(jnp.float32).min
# Behind a closed gate a logit may lie above all open ones; beyond this its exponential overflows.
FAR = 80.0


class Queries(NamedTuple):
  """Queries and what is known of them; axis -2 of every array is over them.

  Attributes:
    q: their vectors.
    at: their positions.
    segment: the segment of each.
    bias: is added to their logits; axis -2 may have length 1.
  """

  q: Float[Array, "*b h q d"]
  at: Int[Array, "q 1"]
  segment: Int[Array, "*b q 1"] | None = None
  bias: Float[Array, "*#b #h #q #k"] | None = None


class Keys(NamedTuple):
  """Keys, their values and what is known of them; axis -2 of every array is over them.

  Attributes:
    k, v: their vectors, finite.
    at: their positions.
    broken: whether one of the vectors was not finite.
    segment: the segment of each.
    valid: whether it is there at all; None where all are.
  """

  k: Float[Array, "*b h k d"]
  v: Float[Array, "*b h k d"]
  at: Int[Array, "k 1"]
  broken: Bool[Array, "*b 1 k 1"]
  segment: Int[Array, "*b k 1"] | None = None
  valid: Bool[Array, "*b 1 k 1"] | None = None


class Tally(NamedTuple):
  """What is kept of the keys that were met so far: the largest logit, sums, and NaN seen."""

  top: Float[Array, "*b h q 1"]
  total: Float[Array, "*b h q 1"]
  mixed: Float[Array, "*b h q d"]
  spoilt: Bool[Array, "*b #h q 1"]


def at_once(queries: Queries, keys: Keys, pairs: Predicate) -> Float[Array, "*b h q d"]:
  """Attention of all queries to all keys that `pairs` does not hide from them: the reference."""
  hidden = _hidden(_by_pairs(queries, keys, pairs), keys)
  weights = jax.nn.softmax(_logits(queries, keys, hidden), axis=-1)
  mixed = weights.astype(keys.v.dtype) @ keys.v
  mixed = jnp.where(_spoilt(hidden, keys), jnp.nan, mixed)
  return jnp.where(jnp.all(hidden, axis=-1, keepdims=True), 0, mixed).astype(keys.v.dtype)


def weights(queries: Queries, keys: Keys, pairs: Predicate | None) -> Float[Array, "*b h q k"]:
  """The weights of `at_once`, in float32: rows that see no key are zeros, a broken one NaN."""
  hidden = _hidden(_by_pairs(queries, keys, pairs), keys)
  shares = jax.nn.softmax(_logits(queries, keys, hidden), axis=-1)
  shares = jnp.where(_spoilt(hidden, keys), jnp.nan, shares)
  return jnp.where(jnp.all(hidden, axis=-1, keepdims=True), 0, shares)


def gated(
  queries: Queries, keys: Keys, pairs: Predicate | None, gate: Float[Array, "*#b #h #q #k"]
) -> Float[Array, "*b h q d"]:
  r"""`at_once` with weights times a gate, 1 = seen, whose rows are normalised again.

  $w_{ij} = g_{ij} e^{l_{ij}} / \sum_k g_{ik} e^{l_{ik}}$ of logits l. A key behind a closed gate is
  hidden from the query, as `pairs` hides it; the slope of that gate is what opening it would do.
  """
  never = _hidden(_by_pairs(queries, keys, pairs), keys)
  shut = never | (gate == 0)
  logits = scaled_products(queries.q, keys.k, queries.bias)
  # What is multiplied here is divided out in the end.
  top = jnp.max(jnp.where(shut, NEVER, logits), axis=-1, keepdims=True)
  odds = jnp.exp(jnp.minimum(logits - jax.lax.stop_gradient(top), FAR))
  odds = jnp.where(never, 0, masks.gated(odds, gate.astype(jnp.float32)))
  nothing = jnp.all(shut, axis=-1, keepdims=True)
  shares = odds / jnp.where(nothing, 1, jnp.sum(odds, axis=-1, keepdims=True))
  mixed = jnp.where(_spoilt(shut, keys), jnp.nan, shares.astype(keys.v.dtype) @ keys.v)
  return jnp.where(nothing, 0, mixed).astype(keys.v.dtype)


def in_tiles(
  queries: Queries, keys: Keys, pairs: Predicate, *, edge: int
) -> Float[Array, "*b h q d"]:
  """`at_once` by tiles of at most `edge` queries and keys: memory is linear in their numbers.

  With a running maximum and sum, in float32, and once more in the backward pass. A tile that
  `pairs` hides is left out, unless other devices had to be asked whether all of it is.

  Source: Milakov, Gimelshein, "Online normalizer calculation for softmax", 2018, algorithm 3; Rabe,
  Staats, "Self-attention does not need O(n²) memory", 2021.
  """
  n, rows, columns = queries.q.shape[-2], _parts(queries.q, edge), _parts(keys.k, edge)
  if keys.k.shape[-2] % columns and keys.valid is None:
    keys = keys._replace(valid=jnp.ones_like(keys.broken))
  cut_keys = Keys(*(_cut(x, columns) for x in keys))

  def mix(queries: Queries) -> Array:
    bias = None if queries.bias is None else _cut(_turn(queries.bias), columns)
    tiles = (cut_keys, bias)
    step = partial(_next, queries=queries._replace(bias=None), pairs=pairs)
    # The first tile is met outside the loop, whose state then lies on devices as its inputs do.
    nothing = Tally(*map(jnp.asarray, (NEVER, 0.0, 0.0, False)))
    first = step(nothing, jax.tree.map(lambda x: x[0], tiles), skip=False)[0]
    again = jax.checkpoint(step, prevent_cse=False)
    tally, _ = jax.lax.scan(again, first, jax.tree.map(lambda x: x[1:], tiles))
    seen = tally.total > 0
    mixed = jnp.where(seen, tally.mixed / jnp.where(seen, tally.total, 1), 0)
    return jnp.where(tally.spoilt, jnp.nan, mixed).astype(keys.v.dtype)

  # Inside a loop nothing is merged with what was computed before it.
  again = jax.checkpoint(mix, prevent_cse=False)
  out = jax.lax.map(again, Queries(*(_cut(x, rows) for x in queries)))
  out = jnp.moveaxis(out, 0, -3)
  return out.reshape(*out.shape[:-3], -1, out.shape[-1])[..., :n, :]


def _next(
  tally: Tally,
  tile: tuple[Keys, Array | None],
  *,
  queries: Queries,
  pairs: Predicate,
  skip: bool = True,
) -> tuple[Tally, None]:
  """The tally once the keys of one more tile were met, or left out where all are hidden."""
  keys, bias = tile
  queries = queries._replace(bias=None if bias is None else _turn(bias))
  unseen = _by_pairs(queries, keys, pairs)
  met = partial(_meet, keys=keys, queries=queries, unseen=unseen)
  # Whether a mask of all examples hides a tile, only all devices together know.
  if not skip or (unseen.ndim > 3 and jax.device_count() > 1):
    return met(tally), None
  return jax.lax.cond(jnp.all(unseen), lambda tally: tally, met, tally), None


def _meet(tally: Tally, *, keys: Keys, queries: Queries, unseen: Array) -> Tally:
  hidden = _hidden(unseen, keys)
  logits = _logits(queries, keys, hidden)
  # What is multiplied here is divided out in the end.
  top = jax.lax.stop_gradient(jnp.maximum(tally.top, jnp.max(logits, axis=-1, keepdims=True)))
  weights = jnp.where(hidden, 0, jnp.exp(logits - top))
  shrink = jnp.exp(tally.top - top)
  mixed = jnp.matmul(weights.astype(keys.v.dtype), keys.v, preferred_element_type=jnp.float32)
  return Tally(
    top,
    shrink * tally.total + jnp.sum(weights, axis=-1, keepdims=True),
    shrink * tally.mixed + mixed,
    tally.spoilt | _spoilt(hidden, keys),
  )


def _by_pairs(queries: Queries, keys: Keys, pairs: Predicate | None) -> Bool[Array, "*b 1 q k"]:
  if pairs is None:
    return jnp.zeros((1, len(queries.at), len(keys.at)), jnp.bool_)
  own = None if keys.segment is None else _turn(keys.segment)
  return pairs(Pair(queries.at, _turn(keys.at), queries.segment, own))[..., None, :, :]


def _hidden(unseen: Array, keys: Keys) -> Bool[Array, "*b 1 q k"]:
  return unseen if keys.valid is None else unseen | ~_turn(keys.valid)


def _spoilt(hidden: Array, keys: Keys) -> Bool[Array, "*b 1 q 1"]:
  return jnp.any(~hidden & _turn(keys.broken), axis=-1, keepdims=True)


def _logits(queries: Queries, keys: Keys, hidden: Array) -> Float[Array, "*b h q k"]:
  return jnp.where(hidden, NEVER, scaled_products(queries.q, keys.k, queries.bias))


def scaled_products(
  q: Float[Array, "*b h q d"], k: Float[Array, "*b h k d"], bias: Array | None = None
) -> Float[Array, "*b h q k"]:
  """The logits `q kᵀ / √d + bias`, in float32."""
  scaled = q * q.shape[-1] ** -0.5
  logits = jnp.einsum("...qd,...kd->...qk", scaled, k, preferred_element_type=jnp.float32)
  return logits if bias is None else logits + bias.astype(jnp.float32)


def _turn(x: Array) -> Array:
  return jnp.swapaxes(x, -1, -2)


def _parts(x: Array, edge: int) -> int:
  return -(-x.shape[-2] // edge)


def _cut(x: Any, parts: int) -> Any:
  """Axis -2 in parts, in front and padded with zeros; one entry goes along with every part."""
  if x is None or x.shape[-2] == 1:
    return None if x is None else jnp.broadcast_to(x, (parts, *x.shape))
  *batch, n, d = x.shape
  size = -(-n // parts)
  x = jnp.pad(x, [(0, 0)] * len(batch) + [(0, parts * size - n), (0, 0)])
  return jnp.moveaxis(x.reshape(*batch, parts, size, d), -3, 0)
