"""Language modelling from left to right: every token is asked back from those before it."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from maskjax import bind, recover, reduce
from maskjax.errors import BadInput
from maskjax.keys import stream
from maskjax.record import Record
from maskjax.recover import surprise
from maskjax.reduce import Term
from maskjax.task.base import Aux, Batch, Task, Variables, network_of

GENERATES = ("read", "follow", "keys", "tokens", "hidden")


def next_token(
  *,
  record: Record,
  model: Callable[..., Any],
  recover: Callable[..., Term] = recover.cross_entropy,
  generate: functools.partial | None = None,
) -> Task:
  r"""Predicts each token from those before it: $-\sum_i \log p_\theta(x_i \mid x_{<i})$.

  The first token of a window, or of a document where the batch has "segments", is predicted from a
  begin token, whose id is the size of the vocabulary: the likelihood of every valid token counts.
  What precedes a token, and of other documents nothing, is what the network's masks of pairs show.

  Terms: "next", over the valid tokens. Nats are exact, whatever `draws`. Features: "mean", of the
  last hidden tokens. Views: "tokens", "hidden" (all that are valid), "prediction". Generation takes
  masks that hide the end of each window, or nothing; see `maskjax.generate.autoregressive`.

  Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.

  Raises:
    BadInput: the data are no text, the network sees what comes after or has no id to spare, a
      generation that needs what is not offered.
  """
  if record.kind != "text":
    raise BadInput(f"next_token takes text, the data set holds {record.kind}")
  vocabulary = len(record.vocabulary)
  network = network_of(model, record)
  if not getattr(network, "causal", False):
    raise BadInput("next_token reads from left to right: set model.causal=True")
  if getattr(network, "extra", 1) < 1:
    raise BadInput("next_token needs an id for its begin token: set model.extra=1")
  if generate is not None:
    bind.check(generate, GENERATES, "next_token")

  def apply(variables: Variables, batch: Batch, **options: Any) -> Array:
    ids, seen = shifted(batch, vocabulary)
    return network.apply(variables, ids, seen, batch.get("segments"), **options)

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    return network.init(stream(key, "init"), batch["tokens"], batch["valid"])

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    return {"next": recover(apply(variables, batch), batch["tokens"], batch["valid"])}, Aux()

  def nats(
    variables: Variables, batch: Batch, key: Key[Array, ""], draws: int
  ) -> Float[Array, "b"]:
    return surprise(apply(variables, batch), batch["tokens"], batch["valid"]).sum(-1)

  def features(variables: Variables, batch: Batch) -> Mapping[str, Array]:
    # One position more, at which the last token is read.
    longer = {name: jnp.pad(batch[name], ((0, 0), (0, 1))) for name in ("tokens", "valid")}
    if "segments" in batch:
      longer["segments"] = jnp.pad(batch["segments"], ((0, 0), (0, 1)), mode="edge")
    tokens = apply(variables, longer, features=True)
    _, seen = shifted(longer, vocabulary)
    return {"mean": reduce.mean(tokens, where=seen[..., None], axis=-2)}

  def views(variables: Variables, batch: Batch, key: Key[Array, ""]) -> Mapping[str, Array]:
    tokens, hidden = batch["tokens"], batch["valid"]
    best = jnp.argmax(apply(variables, batch), axis=-1)
    return {"tokens": tokens, "hidden": hidden, "prediction": jnp.where(hidden, best, tokens)}

  return Task(
    init=init,
    loss=loss,
    features=features,
    views=views,
    network=network,
    nats=nats,
    generate=_writer(network, vocabulary, generate) if generate is not None else None,
  )


def shifted(batch: Batch, begin: int) -> tuple[Int[Array, "b n"], Bool[Array, "b n"]]:
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
  return jnp.where(new, begin, before(batch["tokens"])), new | before(batch["valid"])


def _writer(network: Any, begin: int, generate: functools.partial) -> Callable[..., Any]:
  def write(
    variables: Variables, keys: Key[Array, "b"], tokens: Int[Array, "b n"], hidden: Array
  ) -> Mapping[str, Array]:
    _check_suffix(hidden)

    def read(tokens: Int[Array, "b n"]) -> Any:
      ids, _ = shifted({"tokens": tokens, "valid": jnp.ones_like(hidden)}, begin)
      return network.apply(variables, ids, start=0, mutable=["cache"])[1]["cache"]

    def follow(cache: Any, tokens: Int[Array, "b n"], i: Array) -> tuple[Array, Any]:
      before = jax.lax.dynamic_slice_in_dim(tokens, i - 1, 1, axis=-1)
      ids = jnp.where(i > 0, before, begin)
      filled = {**variables, "cache": cache}
      logits, state = network.apply(filled, ids, start=i, mutable=["cache"])
      return logits[:, 0], state["cache"]

    return generate(read=read, follow=follow, keys=keys, tokens=tokens, hidden=hidden)

  return write


def _check_suffix(hidden: Array) -> None:
  if isinstance(hidden, jax.core.Tracer):
    return
  known = np.asarray(hidden)
  if (known[:, :-1] & ~known[:, 1:]).any():
    raise BadInput("what is written from left to right is the end of a window: hide a suffix")
