"""The values that every masked task begins with: what each is, and what it is made from.

Their docstrings are the glossary of the graph; the names are those of `base_values`.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax.hide import Seen
from maskjax.over import Over
from maskjax.recover import Target
from maskjax.score import Draw
from maskjax.task.graph import Value
from maskjax.task.networks import Network


class Out(NamedTuple):
  """What an encoder makes of what it sees.

  Attributes:
    tokens: `[b k d]` after the last normalisation, those of the positions that are seen.
    extra: `[b e d]`, the class token and others before them; None without.
    index, valid, hidden: those of `hide.Seen`.
  """

  tokens: Float[Array, "b k d"]
  extra: Float[Array, "b e d"] | None
  index: Int[Array, "b k"] | None  # type: ignore[assignment]
  valid: Bool[Array, "b k"] | None
  hidden: Bool[Array, "b n"]


def nothing(position: Int[Array, "b"], grid: tuple[int, ...]) -> Bool[Array, "b n"]:
  """A mask that hides no position."""
  n = 1
  for side in grid:
    n *= side
  return jnp.zeros((len(position), n), bool)


def scores(score: Float[Array, "b n"] | Draw) -> Float[Array, "b n"]:
  """How much hiding is wanted at each position."""
  return score.scores if isinstance(score, Draw) else score


def log_prob(score: Float[Array, "b n"] | Draw) -> Float[Array, "b n"]:
  """Of each position that a single draw is this one: of a `Draw` its own, else log softmax."""
  return score.log_prob if isinstance(score, Draw) else jax.nn.log_softmax(score)


def in_place(
  values: Any, hidden: Bool[Array, "b n"], allowed: Bool[Array, "b n"] | None = None
) -> Seen:
  """What is seen where hiders leave something at every position.

  Of a hider that gives a mask beside the values, `hide.carry`, that is the one.
  """
  if isinstance(values, tuple):
    values, hidden = values
  return Seen(values, None, allowed, hidden if allowed is None else hidden | ~allowed)


def visible(seen: Seen) -> Bool[Array, "b n"]:
  """The positions that are seen: not hidden, and there."""
  return ~seen.hidden


def embedding(encoder: Network, seen: Seen) -> Float[Array, "b k d"]:
  """Tokens of what is seen before positions and attention, each of its own position alone."""
  return encoder(seen.values, method="embed")


def out(
  encoder: Network, embedded: Float[Array, "b k d"], seen: Seen, grid: tuple[int, ...]
) -> Out:
  """What the encoder makes of what it sees."""
  tokens = encoder(embedded, index=seen.index, valid=seen.valid, grid=grid, method="attend")
  extra = tokens.shape[-2] - embedded.shape[-2]
  first = tokens[..., :extra, :] if extra else None
  return Out(tokens[..., extra:, :], first, *seen[1:])


def decoded(decoder: Network, out: Out, grid: tuple[int, ...]) -> Any:
  """What the decoder predicts at every position: `prediction`, and `loss` where it does."""
  tokens = out.tokens
  if out.extra is not None:
    tokens = jnp.concatenate([out.extra, tokens], axis=-2)
  return decoder(tokens, out.hidden, grid)


def reward(
  prediction: Float[Array, "b n p"],
  target: Float[Array, "b n p"],
  asked: Bool[Array, "b n"],
  *,
  loss: functools.partial[Any],
) -> Float[Array, "b n"]:
  """The loss at each position by itself."""
  each = lambda p, t, a: loss(p[None], t[None], a[None]).sum
  return jax.vmap(jax.vmap(each))(prediction, target, asked)


def target(values: Float[Array, "b n p"], *, aim: Target) -> Float[Array, "b n p"]:
  """What is asked back, made from the values."""
  return aim.encode(values)


def apply(network: Network, x: Any, *, method: str | None = None) -> Any:
  """What a network, or one of its methods, makes of a value."""
  return network(x, method=method)


def latents(batch: Mapping[str, Any], codec: Network, *, field: str = "image") -> dict[str, Any]:
  """The batch with the means of a frozen autoencoder's latents in the place of a field."""
  mean = codec(batch[field], method="encode").mean
  return {**batch, field: jax.lax.stop_gradient(mean)}


def base_values(
  over: Over, networks: Mapping[str, Any], aim: Target | None
) -> dict[str, Value | str]:
  """The values that there are whatever the config says, by name.

  Those of networks that are called "encoder" and "decoder" where there are such.
  """

  def positions(source: Mapping[str, Any]) -> Any:
    """The batch as positions: `values` and which are `allowed`."""
    return over.read(source)

  made: dict[str, Value | str] = {
    "source": "batch",
    "positions": Value(positions),
    "values": "positions.values",
    "allowed": "positions.allowed",
    "nothing": Value(nothing),
    "scores": Value(scores),
    "log_prob": Value(log_prob),
    "asked": "hidden",
    "visible": Value(visible),
  }
  if "encoder" in networks:
    made |= {"embedding": Value(embedding), "embedded": "embedding", "out": Value(out)}
  if "decoder" in networks:
    made |= {"decoded": Value(decoded), "prediction": "decoded.prediction"}
    made["predicted_loss"] = "decoded.loss"
  if aim is not None:
    made["target"] = Value(functools.partial(target, aim=aim))
  return made
