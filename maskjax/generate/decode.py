"""One iterative decoding loop: predict what is hidden, keep some of it hidden, reveal the rest.

Decoding is selecting again and again: of the positions still hidden, `select(score, count=k)` says
which stay so, and a schedule says how many. What differs between samplers are these three words.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.keys import stream
from maskjax.reduce import count
from maskjax.schedule import Schedule

OFFERS = ("keys", "grid", "step", "logits", "tokens")


def decode(
  predict: Callable[[Int[Array, "b n"], Bool[Array, "b n"]], Float[Array, "b n v"]],
  keys: Key[Array, "b"],
  tokens: Int[Array, "b n"],
  hidden: Bool[Array, "b n"],
  *,
  score: functools.partial[Float[Array, "b n"]],
  select: functools.partial[Bool[Array, "b n"]],
  schedule: functools.partial[Schedule],
  steps: int = 256,
  binomial: bool = True,
  temperature: float | bind.Moving = 1.0,
) -> Mapping[str, Array]:
  r"""Fills the hidden positions in `steps` steps, each from the network's own earlier choices.

  `schedule` gives the share $\gamma(u)$ of the positions still hidden at $u = s / S$, from 1 to 0.
  With `binomial` each of them stays hidden with probability $\gamma(u_s) / \gamma(u_{s-1})$, by
  itself: with white noise as score that is ancestral sampling of masked diffusion, where
  $\gamma = 1 - \alpha$. Without, $\gamma(u_s) N$, rounded, of the N given positions stay hidden
  (MaskGIT rounds down). Tokens are drawn from `softmax(logits / temperature)` by Gumbel noise of
  full precision, the likeliest at temperature 0. The score may name `keys` (the same at every
  step, so that noise orders the positions once), `grid`, `step`, `logits` and `tokens`, those just
  drawn.
  Every example goes at once to its next step that reveals something, so the network is evaluated
  at most as often as positions are hidden, however many the steps; what is drawn stays the same.

  Returns:
    "tokens", and "step": when each position was revealed, from 1; 0 where it was given.

  Raises:
    BadInput: `steps` below 1, or a score or selection that needs what is not offered.

  Source: Shi et al. 2024 (MD4), section 3; Chang et al. 2022 (MaskGIT), section 3.2.
  """
  if steps < 1:
    raise BadInput(f"generate.steps must be at least 1, got {steps}")
  bind.check(score, OFFERS, "decode")
  left = remaining(keys, hidden, _share(schedule, steps), binomial=binomial)
  order, events = _events(left, count(hidden, axis=-1))

  def choose(key: Any, logits: Any, tokens: Any, hidden: Any, step: Any, stay: Any) -> Any:
    """Draws the tokens of one example, and says which positions stay hidden."""
    drawn = jnp.where(hidden, draw(key, logits, bind.now(temperature, step), step), tokens)
    offers = {"keys": key, "grid": tokens.shape[1:], "step": step, "logits": logits}
    scores = bind.call(bind.at(score, step), {**offers, "tokens": drawn})
    return drawn, bind.at(select, step)(scores, count=stay, allowed=hidden)

  def reveal(event: Int[Array, ""], state: Any) -> Any:
    tokens, hidden, when = state
    logits = predict(tokens, hidden).astype(jnp.float32)
    step = order[event] + 1
    stay = jnp.where(event < events, left[order[event], rows], count(hidden, axis=-1))
    one = keys[:, None], logits[:, None], tokens[:, None], hidden[:, None], step, stay[:, None]
    drawn, still = (x[:, 0] for x in jax.vmap(choose)(*one))
    new = hidden & ~still
    return jnp.where(new, drawn, tokens), still, jnp.where(new, step[:, None], when)

  rows = jnp.arange(len(tokens))
  begin = tokens, hidden, jnp.zeros(tokens.shape, jnp.int32)
  tokens, _, when = jax.lax.fori_loop(0, jnp.max(events, initial=0), reveal, begin)
  return {"tokens": tokens, "step": when}


def _events(
  left: Int[Array, "s b"], total: Int[Array, "b"]
) -> tuple[Int[Array, "s b"], Int[Array, "b"]]:
  """The steps in which an example reveals something, first, from 0; and how many they are."""
  changes = left < jnp.concatenate([total[None], left[:-1]])
  return jnp.argsort(~changes, axis=0, stable=True), count(changes, axis=0)


def remaining(
  keys: Key[Array, "b"], hidden: Bool[Array, "b n"], share: Float[Array, "s"], *, binomial: bool
) -> Int[Array, "s b"]:
  r"""How many positions are still hidden after each step, where `share` of them is meant to be.

  With `binomial`, one uniform draw u a position, and those with $u < \gamma_s$ count: given the
  count of one step, that of the next is binomial. Never rising, as the shares never rise.

  >>> hidden, keys = jnp.ones((1, 8), bool), jax.random.split(jax.random.key(0), 1)
  >>> remaining(keys, hidden, jnp.array([0.5, 0.0]), binomial=False).tolist()
  [[4], [0]]
  """
  if not binomial:
    total = count(hidden, axis=-1)
    return jnp.round(share[:, None] * total).astype(jnp.int32)
  one = lambda key: jax.random.uniform(stream(key, "count"), hidden.shape[1:])
  lots = jax.vmap(one)(keys)
  return jax.lax.map(lambda s: count((lots < s) & hidden, axis=-1), share)


def draw(
  keys: Key[Array, "b"], logits: Float[Array, "b n v"], temperature: Any, step: Any = 0
) -> Int[Array, "b n"]:
  """Tokens drawn from `softmax(logits / temperature)`, one key an example; the best at 0.

  Gumbel noise at the lowest precision of its tail biases long generations, so it is "high".

  >>> draw(jax.random.split(jax.random.key(0), 1), jnp.array([[[0., 9.]]]), 0.0).tolist()
  [[1]]
  """
  noise = lambda key: jax.random.gumbel(stream(key, "draw", step), logits.shape[1:], mode="high")
  return jnp.argmax(logits + temperature * jax.vmap(noise)(keys), axis=-1).astype(jnp.int32)


def _share(schedule: functools.partial[Schedule], steps: int) -> Float[Array, "s"]:
  curve = bind.call(schedule, {"start": 1.0, "end": 0.0})
  return curve(jnp.arange(1, steps + 1) / steps)
