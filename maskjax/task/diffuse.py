"""Masked diffusion: tokens are hidden at a random time, and asked back under a likelihood bound."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from maskjax import bind, hide, recover
from maskjax.errors import BadInput
from maskjax.keys import keys, stream
from maskjax.record import Record
from maskjax.recover import surprise
from maskjax.reduce import Term, count
from maskjax.schedule import Schedule
from maskjax.task.answers import offered
from maskjax.task.base import Aux, Batch, Task, Variables, network_of

OFFERS = ("keys", "grid", "step", "tokens")


def diffuse(
  *,
  record: Record,
  batch_size: int,
  model: Callable[..., Any],
  score: functools.partial[Float[Array, "b n"]],
  select: functools.partial[Bool[Array, "b n"]],
  schedule: functools.partial[Schedule],
  recover: Callable[..., Term] = recover.elbo,
  generate: functools.partial | None = None,
  eps: float = 1e-4,
) -> Task:
  r"""Masked diffusion of tokens in continuous time.

  An example gets a time t, and every token is hidden with probability $1 - \alpha(t)$: how many
  are, k, is drawn from that binomial; which, says `select(score, count=k)`. The loss is weighed by
  $w(t) = -\alpha'(t) / (1 - \alpha(t))$, which makes it a bound on the negative log-likelihood
  where the score does not look at the tokens. Times are antithetic: $t_i = u + i / B$ modulo 1 for
  position i of the batch, one u a step. `schedule` gives $\alpha$ from 1 to 0, here clipped to
  [eps, 1 - eps]; what that leaves out enters the bound as tokens guessed uniformly.

  Terms: "bound", nats a token. Views: "tokens", "hidden", "prediction". `generate` is a decoding
  loop, see `maskjax.generate`.

  Source: Shi et al. 2024, "Simplified and Generalized Masked Diffusion for Discrete Data" (MD4),
  equations 4 and 5; antithetic times: Kingma et al. 2021, appendix I.1.

  Raises:
    BadInput: the data are no text, a score or selection needs what is not offered.
  """
  if record.kind != "text":
    raise BadInput(f"diffuse takes text, the data set holds {record.kind}")
  bind.check(score, OFFERS, "diffuse")
  if "count" not in bind.needs(select):
    raise BadInput(f"diffuse says how many tokens are hidden: select.{select.func.__name__} must")
  vocabulary = len(record.vocabulary)
  network = network_of(model, record)
  curve = bind.call(schedule, {"start": 1.0, "end": 0.0})
  alpha = lambda t: eps + (1 - 2 * eps) * curve(t)

  def noised(
    key: Key[Array, ""], batch: Batch, times: Float[Array, "b"], step: Any
  ) -> Bool[Array, "b n"]:
    """Which tokens are hidden at each example's time."""
    drawn = lambda name: keys(stream(key, name, step), batch["position"])
    tokens, valid = batch["tokens"], batch["valid"]
    offers = {"keys": drawn("mask"), "grid": tokens.shape[1:], "step": step, "tokens": tokens}
    coins = jax.vmap(lambda k: jax.random.uniform(k, tokens.shape[1:]))(drawn("count"))
    binomial = count((coins >= alpha(times)[:, None]) & valid, axis=-1)
    return bind.at(select, step)(bind.call(score, offers), count=binomial, allowed=valid)

  def predict(variables: Variables, batch: Batch, hidden: Bool[Array, "b n"]) -> Array:
    return network.apply(variables, hide.token(batch["tokens"], hidden, vocabulary), batch["valid"])

  def weight(times: Float[Array, "b"]) -> Float[Array, "b"]:
    slope = jax.vmap(jax.grad(alpha))(times)
    return -slope / (1 - alpha(times))

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    return network.init(stream(key, "init"), batch["tokens"], batch["valid"])

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    first = jax.random.uniform(stream(key, "time", step))
    times = jnp.mod(first + batch["position"] / batch_size, 1.0)
    hidden = noised(key, batch, times, step)
    logits = predict(variables, batch, hidden)
    terms = recover(logits, batch["tokens"], hidden, weight=weight(times), valid=batch["valid"])
    return {"bound": terms}, Aux()

  def nats(
    variables: Variables, batch: Batch, key: Key[Array, ""], draws: int
  ) -> Float[Array, "b"]:
    first = jax.vmap(jax.random.uniform)(keys(stream(key, "time"), batch["position"]))

    def one(draw: Int[Array, ""]) -> Float[Array, "b"]:
      times = jnp.mod(first + draw / draws, 1.0)
      hidden = noised(key, batch, times, draw)
      lost = surprise(predict(variables, batch, hidden), batch["tokens"], hidden)
      return weight(times) * lost.sum(-1)

    total = jax.lax.map(one, jnp.arange(draws)).sum(0) / draws
    guessed = (1 - alpha(0.0)) * jnp.log(float(vocabulary))
    return total + guessed * count(batch["valid"], axis=-1)

  def views(variables: Variables, batch: Batch, key: Key[Array, ""]) -> Mapping[str, Array]:
    rows = batch["tokens"].shape[0]
    times = (jnp.arange(rows) + 0.5) / rows
    hidden = noised(key, batch, times, 0)
    best = jnp.argmax(predict(variables, batch, hidden), axis=-1)
    tokens = batch["tokens"]
    return {"tokens": tokens, "hidden": hidden, "prediction": jnp.where(hidden, best, tokens)}

  def fill(
    variables: Variables, keys: Key[Array, "b"], tokens: Int[Array, "b n"], hidden: Array
  ) -> Mapping[str, Array]:
    everything = jnp.ones(tokens.shape, jnp.bool_)
    logits = lambda tokens, hidden: predict(
      variables, {"tokens": tokens, "valid": everything}, hidden
    )
    return generate(logits, keys, tokens, hidden)  # type: ignore[misc]

  return Task(
    init=init,
    loss=loss,
    network=network,
    answers=offered(
      views=views, nats=nats, infill=predict, generate=fill if generate is not None else None
    ),
  )
