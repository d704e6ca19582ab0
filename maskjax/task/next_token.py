"""Language modelling from left to right: every token is asked back from those before it."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from maskjax import bind, recover, reduce
from maskjax.errors import BadInput
from maskjax.hide.pairs import Predicate
from maskjax.keys import stream
from maskjax.model import layers
from maskjax.record import Record
from maskjax.recover import surprise
from maskjax.reduce import Term
from maskjax.task.answers import offered
from maskjax.task.base import Aux, Batch, Task, Variables, network_of
from maskjax.task.text import asked_of, blocks_read, left_to_right, longer, shifted

GENERATES = ("read", "follow", "keys", "tokens", "hidden")


def next_token(
  *,
  record: Record,
  model: Callable[..., Any],
  hide: Callable[[], Predicate] | None = None,
  recover: Callable[..., Term] = recover.cross_entropy,
  generate: functools.partial | None = None,
) -> Task:
  r"""Predicts each token from those before it: $-\sum_i \log p_\theta(x_i \mid x_{<i})$.

  The first token of a window, or of a document where the batch has "segments", is predicted from a
  begin token, whose id is the size of the vocabulary: the likelihood of every valid token counts.
  What precedes a token, and of other documents nothing, is what the network's masks of pairs show.

  Where the batch says which tokens are "asked", these are the answers that count, and the others
  are prompts. `hide` makes a mask of pairs, in place of the network's own: the segments that it
  may ask for are the "blocks" of the batch (without them a prompt is one), where every asked token
  is a block by itself. So `blocks` reads prompts both ways within a block, and answers from left
  to right; `causal` all. What is written is asked, what is given a prompt of one block, unless
  `generate` is told its `blocks`: it is read at once, then one token after another.

  Terms: "next", over the asked tokens. Nats are exact, whatever `draws`. Features: "mean", of the
  last hidden tokens. Views: "tokens", "hidden" (all that are asked), "prediction". Generation takes
  masks that hide the end of each window, or nothing; see `maskjax.generate.autoregressive`.

  Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2;
  blocks: Katz et al., "Segment-Based Attention Masking for GPTs", 2025, section 3.

  Raises:
    BadInput: the data are no text, the network or `hide` shows what comes after, there is no id to
      spare, a generation that needs what is not offered; later, blocks in packed documents.
  """
  if record.kind != "text":
    raise BadInput(f"next_token takes text, the data set holds {record.kind}")
  vocabulary = len(record.vocabulary)
  network = network_of(model, record)
  pairs = hide() if hide is not None else None
  if pairs is None and not getattr(network, "causal", False):
    raise BadInput("next_token reads from left to right: set model.causal=True")
  if pairs is not None and not left_to_right(pairs):
    raise BadInput("next_token's hide shows an answer what comes after: set hide.fn=blocks")
  if getattr(network, "extra", 1) < 1:
    raise BadInput("next_token needs an id for its begin token: set model.extra=1")
  if generate is not None:
    bind.check(generate, GENERATES, "next_token")

  def ask(variables: Variables, batch: Batch, **options: Any) -> layers.Told:
    ids, seen = shifted(batch, vocabulary)
    if pairs is None:
      return layers.apply(network, variables, ids, seen, batch.get("segments"), **options)
    if "segments" in batch:
      raise BadInput("next_token has no blocks in packed documents: unset hide or data.documents")
    options = {**options, "pairs": pairs}
    return layers.apply(network, variables, ids, seen, blocks_read(batch), **options)

  def apply(variables: Variables, batch: Batch, **options: Any) -> Array:
    return ask(variables, batch, **options).out

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    return network.init(stream(key, "init"), batch["tokens"], batch["valid"])

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    return {"next": recover(apply(variables, batch), batch["tokens"], asked_of(batch))}, Aux()

  def nats(
    variables: Variables, batch: Batch, key: Key[Array, ""], draws: int
  ) -> Float[Array, "b"]:
    return surprise(apply(variables, batch), batch["tokens"], asked_of(batch)).sum(-1)

  def features(variables: Variables, batch: Batch) -> Mapping[str, Array]:
    more = longer(batch)
    tokens = apply(variables, more, features=True)
    _, seen = shifted(more, vocabulary)
    return {"mean": reduce.mean(tokens, where=seen[..., None], axis=-2)}

  def views(variables: Variables, batch: Batch, key: Key[Array, ""]) -> Mapping[str, Array]:
    tokens, hidden = batch["tokens"], asked_of(batch)
    best = jnp.argmax(apply(variables, batch), axis=-1)
    return {"tokens": tokens, "hidden": hidden, "prediction": jnp.where(hidden, best, tokens)}

  def attention(variables: Variables, batch: Batch) -> Float[Array, "b layers heads n n"]:
    return jnp.stack([*ask(variables, batch, taps=["*/attention"]).found.values()], axis=1)

  writes = _writer(network, vocabulary, generate, pairs) if generate is not None else None
  return Task(
    init=init,
    loss=loss,
    network=network,
    answers=offered(
      features=features, views=views, nats=nats, attention=attention, generate=writes
    ),
  )


def _writer(
  network: Any, begin: int, generate: functools.partial, pairs: Predicate | None
) -> Callable[..., Any]:
  def write(
    variables: Variables,
    keys: Key[Array, "b"],
    tokens: Int[Array, "b n"],
    hidden: Array,
    blocks: Int[Array, "b n"] | None = None,
  ) -> Mapping[str, Array]:
    _check_suffix(hidden)
    known = {} if blocks is None else {"blocks": blocks}
    given: tuple[Any, dict[str, Any]] = (None, {})
    if pairs is not None:
      given = blocks_read({"valid": jnp.asarray(hidden), **known}), {"pairs": pairs}
    segments, options = given
    step = functools.partial(network.apply, mutable=["cache"], **options)

    def read(tokens: Int[Array, "b n"]) -> Any:
      ids, _ = shifted({"tokens": tokens, "valid": jnp.ones_like(hidden)}, begin)
      return step(variables, ids, None, segments, start=0)[1]["cache"]

    def follow(cache: Any, tokens: Int[Array, "b n"], i: Array) -> tuple[Array, Any]:
      before = jax.lax.dynamic_slice_in_dim(tokens, i - 1, 1, axis=-1)
      ids = jnp.where(i > 0, before, begin)
      logits, state = step({**variables, "cache": cache}, ids, None, segments, start=i)
      return logits[:, 0], state["cache"]

    return generate(read=read, follow=follow, keys=keys, tokens=tokens, hidden=hidden)

  return write


def _check_suffix(hidden: Array) -> None:
  if isinstance(hidden, jax.core.Tracer):
    return
  known = np.asarray(hidden)
  if (known[:, :-1] & ~known[:, 1:]).any():
    raise BadInput("what is written from left to right is the end of a window: hide a suffix")
