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

OFFERS = ("keys", "grid", "step", "logits", "noisy", "tokens")
Predict = Callable[[Int[Array, "b n"], Bool[Array, "b n"]], Float[Array, "b n v"]]


@bind.paced("steps")
def decode(
  predict: Predict,
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
  remask: bool = False,
  guidance: float | bind.Moving = 0.0,
  unguided: Predict | None = None,
) -> Mapping[str, Array]:
  r"""Fills the hidden positions in `steps` steps, each from the network's own earlier choices.

  `schedule` gives the share $\gamma(u)$ of the positions still hidden at $u = s / S$, from 1 to 0.
  With `binomial` each of them stays hidden with probability $\gamma(u_s) / \gamma(u_{s-1})$, by
  itself: with white noise as score that is ancestral sampling of masked diffusion, where
  $\gamma = 1 - \alpha$. Without, $\gamma(u_s) N$, rounded down, of the N given positions stay
  hidden, at least one fewer than before, and at least one until the last step, as in MaskGIT.
  Tokens are drawn from `softmax(logits / temperature)` by Gumbel noise of full precision, the
  likeliest at temperature 0. The score may name `keys` (the same at every step, so that noise
  orders the positions once), `grid`, `step`, `logits`, `noisy` (the logits with the noise that the
  tokens were drawn by) and `tokens`, those just drawn.
  With `remask` tokens that were revealed keep the score that they were revealed with, and may be
  hidden again: all positions that were not given compete at every step.
  With `guidance` w the logits are $l_0 + (1 + w) (l - l_0)$, where `unguided` gives $l_0$, those
  without a label.
  Every example goes at once to its next step that reveals something, so the network is evaluated
  at most as often as positions are hidden, however many the steps; what is drawn stays the same.

  Args:
    predict: `(tokens, hidden) -> logits`.
    keys: typed, one per example.
    tokens: ids of n positions; those that are hidden do not matter.
    hidden: positions to fill.
    score: of hidden positions; high stays hidden longer.
    select: which of them stay hidden, by a `count`.
    schedule: share that is still hidden, from 1 at u = 0 to 0 at u = 1.
    steps: S, at least 1.
    binomial: whether each position stays hidden by itself, not an exact number.
    temperature: of the tokens, at least 0; may move.
    remask: whether revealed tokens may be hidden again.
    guidance: w; 0: none; may move.
    unguided: as `predict`, without the label; None: no guidance.

  Returns:
    "tokens", and "step": when each position was revealed (the last time), from 1; 0 where it was
    given.

  Raises:
    BadInput: `steps` below 1, a score or selection that needs what is not offered, or guidance
      where there is nothing without it.

  Source: Shi et al. 2024 (MD4), section 3; Chang et al. 2022 (MaskGIT), section 3.2; Ghazvininejad
  et al. 2019 (Mask-Predict), section 3.2 (`remask`); Ho and Salimans 2022, equation 6 (`guidance`).
  """
  if steps < 1:
    raise BadInput(f"generate.steps must be at least 1, got {steps}")
  if guidance and unguided is None:
    raise BadInput("guidance wants a network that may be told labels, or not: guidance=0.0")
  bind.check(score, OFFERS, "decode")
  left = remaining(keys, hidden, _share(schedule, steps), binomial=binomial)
  order, events = _events(left, count(hidden, axis=-1))
  given = ~hidden

  def look(tokens: Any, hidden: Any, step: Any) -> Float[Array, "b n v"]:
    logits = predict(tokens, hidden).astype(jnp.float32)
    if not guidance or unguided is None:
      return logits
    base = unguided(tokens, hidden).astype(jnp.float32)
    scale = jax.vmap(lambda s: jnp.broadcast_to(bind.now(guidance, s), ()))(step)
    return base + (1 + scale[:, None, None]) * (logits - base)

  def choose(
    key: Any, logits: Any, tokens: Any, hidden: Any, free: Any, old: Any, step: Any, stay: Any
  ) -> Any:
    """Draws the tokens of one example, scores them, and says which positions stay hidden."""
    noisy = perturbed(key, logits, bind.now(temperature, step), step)
    drawn = jnp.where(hidden, jnp.argmax(noisy, axis=-1).astype(tokens.dtype), tokens)
    offers = {"keys": key, "grid": tokens.shape[1:], "step": step, "logits": logits}
    scores = bind.call(bind.at(score, step), {**offers, "noisy": noisy, "tokens": drawn})
    scores = jnp.where(hidden, scores, old)
    allowed = free if remask else hidden
    return drawn, scores, bind.at(select, step)(scores, count=stay, allowed=allowed)

  def reveal(event: Int[Array, ""], state: Any) -> Any:
    tokens, hidden, when, scores = state
    step = order[event] + 1
    logits = look(tokens, hidden, step)
    stay = jnp.where(event < events, left[order[event], rows], count(hidden, axis=-1))
    now = keys, logits, tokens, hidden, ~given, scores, step, stay
    # Each example alone, as a batch of one, but its step and its count: one number each.
    one = [x if x is step else x[:, None] for x in now]
    drawn, scores, still = (x[:, 0] for x in jax.vmap(choose)(*one))
    # Beyond its last step an example stays as it is, also where all might be chosen anew.
    still = jnp.where((event < events)[:, None], still, hidden)
    new = hidden & ~still
    when = jnp.where(new, step[:, None], jnp.where(still, 0, when))
    return jnp.where(new, drawn, tokens), still, when, scores

  rows = jnp.arange(len(tokens))
  begin = tokens, hidden, jnp.zeros(tokens.shape, jnp.int32), jnp.zeros(tokens.shape, jnp.float32)
  tokens, _, when, _ = jax.lax.fori_loop(0, jnp.max(events, initial=0), reveal, begin)
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
  count of one step, that of the next is binomial. Never rising, as the shares never rise. Without,
  the share is rounded down, at least one position is revealed a step where there are two or more,
  and at least one is left but by the last step.

  >>> hidden, keys = jnp.ones((1, 8), bool), jax.random.split(jax.random.key(0), 1)
  >>> remaining(keys, hidden, jnp.array([0.95, 0.2, 0.0]), binomial=False).tolist()
  [[7], [1], [0]]
  """
  if not binomial:
    total = count(hidden, axis=-1)

    def down(left: Int[Array, "b"], share: Float[Array, ""]) -> tuple[Array, Array]:
      # A share of 2 / 3 in float32 means two of three.
      wanted = jnp.floor(share * (1 + 1e-6) * total + 1e-6).astype(jnp.int32)
      left = jnp.minimum(jnp.maximum(jnp.minimum(wanted, left - 1), 1), total)
      return left, left

    steps = jax.lax.scan(down, total, share[:-1])[1]
    return jnp.concatenate([steps, jnp.zeros_like(total)[None]])
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
  return jnp.argmax(perturbed(keys, logits, temperature, step), axis=-1).astype(jnp.int32)


def perturbed(
  keys: Key[Array, "b"], logits: Float[Array, "b n v"], temperature: Any, step: Any = 0
) -> Float[Array, "b n v"]:
  """Logits with the noise whose largest is a draw, see `draw`."""
  noise = lambda key: jax.random.gumbel(stream(key, "draw", step), logits.shape[1:], mode="high")
  return logits + temperature * jax.vmap(noise)(keys)


def _share(schedule: functools.partial[Schedule], steps: int) -> Float[Array, "s"]:
  curve = bind.call(schedule, {"start": 1.0, "end": 0.0})
  return curve(jnp.arange(1, steps + 1) / steps)
