"""Writing from left to right: one token after another, each from all those before it."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from maskjax import bind, hide, reduce, select
from maskjax.errors import BadInput
from maskjax.generate.decode import draw


@bind.paced()
def autoregressive(
  read: Callable[[Int[Array, "b n"]], Any],
  follow: Callable[[Any, Int[Array, "b n"], Int[Array, ""]], tuple[Float[Array, "b v"], Any]],
  keys: Key[Array, "b"],
  tokens: Int[Array, "b n"],
  hidden: Bool[Array, "b n"],
  *,
  temperature: float = 1.0,
  top_k: int = 0,
  top_p: float = 1.0,
) -> Mapping[str, Array]:
  r"""Fills the hidden positions in order, each from $p(x_i \mid x_{<i})$; given tokens stay.

  `read(tokens)` reads all windows at once and gives a cache; `follow(cache, tokens, i)` gives the
  logits of position i, of `tokens` having read those before i, and the cache for position i + 1.
  What the cache holds of position i and later must not matter: hidden positions are read as token
  0. All examples go in step, from the first hidden position of any; one compile serves all masks.

  A token is drawn from `softmax(logits / temperature)`, the likeliest at temperature 0: from the
  `top_k` likeliest (0: from all) and, of these, from the fewest that hold `top_p` of their
  probability. Gumbel noise of full precision; one key an example and position.

  Args:
    read: `tokens -> cache`.
    follow: `(cache, tokens, i) -> (logits, cache)`.
    keys: typed, one per example.
    tokens: ids of n positions; those that are hidden do not matter.
    hidden: positions to fill.
    temperature: at least 0; 0 takes the likeliest.
    top_k: likeliest tokens to draw from; 0: all.
    top_p: probability that the tokens to draw from hold, in (0, 1].

  Returns:
    "tokens", and "step": when each position was written, from 1; 0 where it was given.

  Raises:
    BadInput: a temperature or `top_k` below 0, `top_p` outside (0, 1], or a schedule for any.

  Source: Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020, section 3.1
  (`top_p`); Fan et al., "Hierarchical Neural Story Generation", 2018, section 5.4 (`top_k`).
  """
  if any(isinstance(value, bind.Moving) for value in (temperature, top_k, top_p)):
    raise BadInput("autoregressive takes numbers, not schedules, as temperature, top_k and top_p")
  if temperature < 0 or top_k < 0 or not 0 < top_p <= 1:
    values = f"{temperature=}, {top_k=}, {top_p=}"
    raise BadInput(f"temperature and top_k are at least 0, top_p lies in (0, 1]; got {values}")
  tokens = hide.token(tokens, hidden, 0)
  n = tokens.shape[1]

  def write(i: Int[Array, ""], state: Any) -> Any:
    tokens, cache = state
    logits, cache = follow(cache, tokens, i)
    if temperature:
      logits = likely(logits / temperature, top_k=top_k, top_p=top_p)
    own = jax.vmap(lambda key: jax.random.fold_in(key, i))(keys)
    drawn = draw(own, logits[:, None], 1.0 if temperature else 0.0)[:, 0]
    here = (jnp.arange(n) == i) & hidden
    return jnp.where(here, drawn[:, None].astype(tokens.dtype), tokens), cache

  first = jnp.min(jnp.where(jnp.any(hidden, axis=0), jnp.arange(n), n))
  tokens, _ = jax.lax.fori_loop(first, n, write, (tokens, read(tokens)))
  return {"tokens": tokens, "step": jnp.where(hidden, jnp.cumsum(hidden, axis=-1), 0)}


def likely(
  logits: Float[Array, "*b v"], *, top_k: int = 0, top_p: float = 1.0
) -> Float[Array, "*b v"]:
  """The logits, in float32, with -inf for all but the likeliest tokens.

  >>> likely(jnp.array([3., 1., 2.]), top_k=2).tolist()
  [3.0, -inf, 2.0]
  >>> likely(jnp.log(jnp.array([0.6, 0.3, 0.1])), top_p=0.7).tolist()[2]
  -inf
  """
  logits = logits.astype(jnp.float32)
  if 0 < top_k < logits.shape[-1]:
    logits = jnp.where(select.top(logits, count=top_k), logits, -jnp.inf)
  if top_p < 1:
    falling = -jnp.sort(-jax.nn.softmax(logits, axis=-1), axis=-1)
    before = jnp.cumsum(falling, axis=-1) - falling
    count = reduce.count(before < top_p, axis=-1)
    logits = jnp.where(select.top(logits, count=count), logits, -jnp.inf)
  return logits
