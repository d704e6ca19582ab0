"""Masked language modelling: tokens are hidden, corrupted or not, and asked back from the rest."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from maskjax import bind, reduce
from maskjax.errors import BadInput
from maskjax.hide import token
from maskjax.keys import keys, stream
from maskjax.record import Record
from maskjax.recover import cross_entropy
from maskjax.reduce import Term, count
from maskjax.score import white
from maskjax.select import top
from maskjax.task.answers import offered
from maskjax.task.base import Aux, Batch, Task, Variables, network_of

OFFERS = ("keys", "grid", "step", "tokens", "unit")
HIDES = ("keys", "vocabulary", "mask_id")
MASK = functools.partial(token)


def masked_token(
  *,
  record: Record,
  model: Callable[..., Any],
  score: functools.partial[Float[Array, "b n"]],
  select: functools.partial[Bool[Array, "b n"]],
  hide: functools.partial[Int[Array, "b n"]] = MASK,
  recover: Callable[..., Term] = cross_entropy,
  asked: float = 1.0,
) -> Task:
  r"""Hides tokens and asks for them: $-\sum_{i\,\mathrm{asked}} \log p_\theta(x_i \mid \tilde x)$.

  `select` says how many tokens are hidden, the corruption rate; `hide`, what is seen in their
  place. `asked`, the tokens asked for each that is hidden, makes the prediction rate another one:
  below 1 a random part of the hidden tokens is asked, beyond 1 every window is seen
  $\lceil \mathrm{asked} \rceil$ times, and no token is hidden twice.

  A score may name `keys` (one per example), `grid`, `step`, `tokens` and, of data that know them,
  `unit`, the index of each token's unit in its window. Term: "masked". Features: "mean", of the
  last hidden tokens with nothing hidden. Views: "tokens", "hidden", "prediction".

  Sources: Devlin et al. 2019 (BERT), section 3.1; Wettig et al. 2023, "Should You Mask 15% in
  Masked Language Modeling?", section 4, for the two rates.

  Raises:
    BadInput: the data are no text, a word needs what is not offered, the network has no id to spare
      or reads from left to right only, or windows are to be hidden again by a selection without a
      `count`.
  """
  if record.kind != "text":
    raise BadInput(f"masked_token takes text, the data set holds {record.kind}")
  bind.check(score, OFFERS, "masked_token")
  bind.check(hide, ("ids", "hidden", *HIDES), "masked_token")
  if asked <= 0:
    raise BadInput(f"tokens asked for each that is hidden are more than 0, got {asked}")
  copies = math.ceil(asked)
  if copies > 1 and "count" not in bind.needs(select):
    raise BadInput(f"to hide a window {copies} times select.{select.func.__name__} needs a count")
  vocabulary = len(record.vocabulary)
  network = network_of(model, record)
  if getattr(network, "causal", False):
    raise BadInput("masked_token reads both ways: set model.causal=False")
  if getattr(network, "extra", 1) < 1:
    raise BadInput("masked_token needs an id for its mask: set model.extra=1")

  def choose(key: Key[Array, ""], batch: Batch, step: Any) -> Bool[Array, "v b n"]:
    """Which tokens are hidden, each time that a window is seen."""
    tokens, valid = batch["tokens"], batch["valid"]
    drawn = keys(stream(key, "mask", step), batch["position"])
    offers = {"keys": drawn, "grid": tokens.shape[1:], "step": step, "tokens": tokens}
    if "unit" in batch:
      offers["unit"] = batch["unit"]
    elif bind.needs(score).get("unit"):
      raise BadInput(f"{score.func.__name__} needs the units of tokens: set data.collocations")
    scores, pick = bind.call(score, offers), bind.at(select, step)
    hide_of = lambda pick, left: (
      left & bind.call(pick, {"grid": offers["grid"], "allowed": left}, scores)
    )
    views = [hide_of(pick, valid)]
    rest = {name: value for name, value in pick.keywords.items() if name != "ratio"}
    again = functools.partial(pick.func, **{**rest, "count": count(views[0], axis=-1)})
    while len(views) < copies:
      views.append(hide_of(again, valid & ~functools.reduce(jnp.logical_or, views)))
    return jnp.stack(views)

  def ask(drawn: Key[Array, "b"], hidden: Bool[Array, "b n"]) -> Bool[Array, "b n"]:
    """Those of the hidden tokens that are asked: a share of asked / copies, rounded."""
    if asked == copies:
      return hidden
    wanted = jnp.round(asked / copies * count(hidden, axis=-1)).astype(jnp.int32)
    return top(white(drawn, hidden.shape[1:]), count=wanted, allowed=hidden)

  def predict(variables: Variables, batch: Batch, ids: Int[Array, "b n"], **options: Any) -> Array:
    return network.apply(variables, ids, batch["valid"], batch.get("segments"), **options)

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    return network.init(stream(key, "init"), batch["tokens"], batch["valid"])

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    tokens, views = batch["tokens"], choose(key, batch, step)

    def one(view: Int[Array, ""], hidden: Bool[Array, "b n"]) -> Term:
      drawn = lambda name: keys(stream(stream(key, name, step), "view", view), batch["position"])
      offers = dict(zip(HIDES, (drawn("hide"), vocabulary, vocabulary), strict=True))
      seen = bind.call(hide, offers, tokens, hidden)
      return recover(predict(variables, batch, seen), tokens, ask(drawn("ask"), hidden))

    if copies == 1:
      return {"masked": one(jnp.int32(0), views[0])}, Aux()
    terms = jax.vmap(one)(jnp.arange(copies), views)
    return {"masked": Term(*(jnp.sum(part, 0) for part in terms))}, Aux()

  def infill(
    variables: Variables, batch: Batch, hidden: Bool[Array, "b n"]
  ) -> Float[Array, "b n v"]:
    return predict(variables, batch, token(batch["tokens"], hidden, vocabulary))

  def features(variables: Variables, batch: Batch) -> Mapping[str, Array]:
    tokens = predict(variables, batch, batch["tokens"], features=True)
    return {"mean": reduce.mean(tokens, where=batch["valid"][..., None], axis=-2)}

  def views(variables: Variables, batch: Batch, key: Key[Array, ""]) -> Mapping[str, Array]:
    tokens, hidden = batch["tokens"], choose(key, batch, 0)[0]
    best = jnp.argmax(infill(variables, batch, hidden), axis=-1)
    return {"tokens": tokens, "hidden": hidden, "prediction": jnp.where(hidden, best, tokens)}

  answers = offered(features=features, views=views, infill=infill)
  return Task(init, loss, network=network, answers=answers)
