"""Values of a graph over text: what a language model reads, predicts and is asked for."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from maskjax import reduce, units
from maskjax.errors import BadInput
from maskjax.hide import Seen
from maskjax.hide.pairs import Predicate, dense
from maskjax.keys import keys
from maskjax.model.layers import Told
from maskjax.recover import nll
from maskjax.task.base import Batch
from maskjax.task.networks import Network
from maskjax.task.pictures import argmax

# How the arrays of a batch go on beyond their end.
PADDED = {"tokens": "constant", "valid": "constant", "asked": "constant"}
PADDED |= {"segments": "edge", "blocks": "edge"}


class Shifted(NamedTuple):
  """What is read where each token is asked: `ids`, and which of them are `valid`."""

  ids: Int[Array, "b n"]
  valid: Bool[Array, "b n"]


def read_tokens(
  network: Network, seen: Seen, source: Batch, *, features: bool = False
) -> Float[Array, "*b n v"]:
  """Logits at every position of a text, of what is seen of it; padding is seen by none.

  Args:
    network: a text transformer.
    seen: ids, and which of them are there.
    source: the batch; where it has "segments", tokens see those of their own alone.
    features: the normalised tokens `[*b n d]`, in place of logits.

  Raises:
    BadInput: a network without an id for a mask, or that reads from left to right.

  >>> import types
  >>> reads = types.SimpleNamespace(extra=0)
  >>> read_tokens(reads, None, {})
  Traceback (most recent call last):
  maskjax.errors.BadInput: the network needs an id for a mask or begin token: set model.extra=1
  """
  _check_extra(network)
  if getattr(network, "causal", False):
    raise BadInput("masked tokens are predicted from both sides: set model.causal=False")
  return network(seen.values, seen.valid, source.get("segments"), features=features)


def read_from_left(
  network: Network,
  source: Batch,
  begin: int,
  pairs: Predicate | None = None,
  *,
  features: bool = False,
  taps: Sequence[str] = (),
) -> Told:
  """What a network says of each token, `out`, having read those before it.

  At the first position, and of each of the "segments", it reads the id `begin`, see `shifted`.

  Args:
    network: a text transformer.
    source: the batch: "tokens", "valid" and what tells of each token which it belongs to.
    begin: the size of the vocabulary, an id to spare.
    pairs: a mask of pairs in place of the network's own; its segments are those of `blocks_read`.
    features: the normalised tokens, in place of logits.
    taps: addresses in the network, see `maskjax.model.layers`.

  Raises:
    BadInput: the network or `pairs` shows what comes after, the network has no id for a begin
      token, or there are blocks in packed documents.

  >>> import types
  >>> read_from_left(types.SimpleNamespace(extra=1, causal=False), {}, 9)
  Traceback (most recent call last):
  maskjax.errors.BadInput: the next token is predicted from those before it: set model.causal=True

  Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2;
  blocks: Katz et al., "Segment-Based Attention Masking for GPTs", 2025, section 3.
  """
  _check_extra(network)
  if pairs is None and not getattr(network, "causal", False):
    raise BadInput("the next token is predicted from those before it: set model.causal=True")
  if pairs is not None and not left_to_right(pairs):
    raise BadInput("the mask of pairs shows an answer what comes after: use hide.blocks")
  ids, seen = shifted(source, begin)
  segments = source.get("segments")
  if pairs is not None and segments is not None:
    raise BadInput("there are no blocks in packed documents: unset the mask or data.documents")
  belong = segments if pairs is None else blocks_read(source)
  return network.tell(ids, seen, belong, pairs=pairs, taps=taps, features=features)


def shifted(batch: Batch, begin: int) -> Shifted:
  """What is read where each token is asked, the one before it, and whether that is valid.

  At the first position, and of each of the "segments", it is the id `begin`.

  >>> batch = {"tokens": jnp.array([[5, 6, 7]]), "valid": jnp.array([[True, True, False]])}
  >>> [x.tolist() for x in shifted(batch, 9)]
  [[[9, 5, 6]], [[True, True, True]]]
  """
  before = lambda x: jnp.roll(x, 1, axis=-1)
  segments = batch.get("segments")
  new = jnp.arange(batch["tokens"].shape[-1]) == 0
  if segments is not None:
    new = new | (segments != before(segments))
  return Shifted(jnp.where(new, begin, before(batch["tokens"])), new | before(batch["valid"]))


def asked_of(batch: Batch) -> Bool[Array, "b n"]:
  """The tokens that count: of the valid ones those that are "asked", or all.

  >>> batch = {"valid": jnp.array([True, True, False]), "asked": jnp.array([False, True, True])}
  >>> asked_of(batch).tolist()
  [False, True, False]
  """
  return batch["valid"] & batch["asked"] if "asked" in batch else batch["valid"]


def blocks_read(batch: Batch) -> Int[Array, "b n"]:
  """The block of what is read where each token is asked; every asked token is one by itself.

  The begin token is of the first block of a prompt.

  >>> asked = jnp.array([[False, False, False, True, True]])
  >>> batch = {"valid": asked | True, "asked": asked, "blocks": jnp.array([[0, 0, 1, 2, 2]])}
  >>> blocks_read(batch).tolist()
  [[0, 0, 0, 1, 2]]
  """
  asked = asked_of(batch)
  blocks = batch.get("blocks", jnp.zeros(asked.shape, jnp.int32))
  unit = units.one_by_one(blocks, asked)
  begin = jnp.where(asked[..., :1], -1, 0)
  return jnp.concatenate([begin, unit[..., :-1]], axis=-1)


def text_nats(
  logits: Float[Array, "b n v"],
  target: Int[Array, "b n"],
  asked: Bool[Array, "b n"],
  weight: Float[Array, "b"] | None = None,
  draws: int = 1,
) -> Float[Array, "b"]:
  r"""The negative log-likelihood of the asked tokens of each text in nats.

  $w \sum_{i\,\mathrm{asked}} -\log p(x_i)$, where w is 1 without a weight.

  Args:
    logits: of every token.
    target: the true tokens.
    asked: which of them count.
    weight: of each text.
    draws: how many a caller wants of what is drawn. Nothing is, so it changes nothing.

  >>> text_nats(jnp.zeros((1, 2, 1)), jnp.zeros((1, 2), int), jnp.ones((1, 2), bool)).tolist()
  [0.0]
  """
  nats = nll(logits, target, asked).sum(-1)
  return nats if weight is None else weight * nats


def stream_key(key: Key[Array, ""]) -> Key[Array, ""]:
  """The key of a stream as a value, for several values that draw from the same."""
  return key


def stratified_times(position: Int[Array, "b"]) -> Float[Array, "b"]:
  r"""Times that lie evenly in [0, 1], one for each example: $t_i = (i + 1/2) / B$.

  >>> stratified_times(jnp.array([7, 3])).tolist()
  [0.25, 0.75]
  """
  return (jnp.arange(len(position)) + 0.5) / len(position)


def over_times(
  graph: Callable[..., Any],
  key: Key[Array, ""],
  position: Int[Array, "b"],
  draws: int,
  *,
  value: str,
) -> Float[Array, "b"]:
  r"""The mean of a value of each example over times that lie evenly in [0, 1).

  $\frac{1}{D} \sum_{d<D} f(t_d)$ with $t_d = u + d / D$ modulo 1, and one $u \sim U[0, 1)$ for each
  example. What else the value draws is drawn anew for each d, as in step d of a run.

  Args:
    graph: in which `times` are given, see `run.Run.ask`.
    key: of the first times.
    position: of the examples in the global batch.
    draws: D.
    value: f, a value that depends on `times`.

  >>> square = lambda value, times, step: times**2
  >>> over_times(square, jax.random.key(0), jnp.arange(1), 4096, value="f").round(3).tolist()
  [0.3330000042915344]
  """
  first = jax.vmap(jax.random.uniform)(keys(key, position))
  at = lambda draw: graph(value, times=jnp.mod(first + draw / draws, 1.0), step=draw)
  return jax.lax.map(at, jnp.arange(draws)).sum(0) / draws


def added(**named: Any) -> Any:
  """The sum of several values, in the order of the names that `of` gives them.

  >>> added(a=1, b=2)
  3
  """
  first, *rest = (named[name] for name in sorted(named))
  return sum(rest, first)


def stacked(named: dict[str, Array], *, axis: int = 0) -> Array:
  """The arrays of a mapping on one more axis, in its order.

  >>> stacked({"a": jnp.zeros((2, 3)), "b": jnp.ones((2, 3))}, axis=1).shape
  (2, 2, 3)
  """
  return jnp.stack([*named.values()], axis=axis)


def text_views(
  tokens: Int[Array, "b n"], hidden: Bool[Array, "b n"], logits: Float[Array, "b n v"]
) -> dict[str, Array]:
  """What pictures of texts are made from: the hidden tokens, and the likeliest in their place.

  >>> tokens, hidden = jnp.array([[1, 1]]), jnp.array([[False, True]])
  >>> text_views(tokens, hidden, jnp.array([[[9., 0.], [9., 0.]]]))["prediction"].tolist()
  [[1, 0]]
  """
  return {"tokens": tokens, "hidden": hidden, "prediction": argmax(logits, tokens, hidden)}


def text_features(
  tokens: Float[Array, "b n d"], valid: Bool[Array, "b n"]
) -> dict[str, Float[Array, "b d"]]:
  """The mean of the tokens that are there.

  >>> text_features(jnp.array([[[1.0], [9.0]]]), jnp.array([[True, False]]))["mean"].tolist()
  [[1.0]]
  """
  return {"mean": reduce.mean(tokens, where=valid[..., None], axis=-2)}


def entry(x: Array, *, index: int = 0) -> Array:
  """One entry along the first axis: of several views, one.

  >>> entry(jnp.array([[1, 2], [3, 4]]), index=1).tolist()
  [3, 4]
  """
  return x[index]


def left_to_right(pairs: Predicate) -> bool:
  """Whether no token sees a later one where all are asked.

  >>> from maskjax import hide
  >>> left_to_right(hide.causal()), left_to_right(hide.prefix(2))
  (True, False)
  """
  with jax.ensure_compile_time_eval():  # what it hides is known before tracing
    at = jnp.arange(3)
    return bool(jnp.all(dense(pairs, 3, at) | (at[None, :] <= at[:, None])))


def longer(batch: Batch) -> dict[str, Array]:
  """The batch with one position more, at which the last token is read from the left.

  >>> made = longer({"tokens": jnp.array([[5, 6]]), "valid": jnp.array([[True, True]])})
  >>> made["tokens"].tolist(), made["valid"].tolist()
  ([[5, 6, 0]], [[True, True, False]])
  """
  wide = lambda x, mode: jnp.pad(x, ((0, 0), (0, 1)), mode=mode)
  return {name: wide(batch[name], mode) for name, mode in PADDED.items() if name in batch}


def _check_extra(network: Network) -> None:
  if getattr(network, "extra", 1) < 1:
    raise BadInput("the network needs an id for a mask or begin token: set model.extra=1")
