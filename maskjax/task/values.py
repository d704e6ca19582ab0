"""The values that every masked task begins with: what each is, and what it is made from.

Their docstrings are the glossary of the graph; the names are those of `base_values`.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax import reduce
from maskjax.errors import BadInput
from maskjax.hide import Seen, restore
from maskjax.over import Over
from maskjax.recover import Target
from maskjax.score import Draw
from maskjax.select import Views
from maskjax.task.networks import Network
from maskjax.task.node import Value
from maskjax.task.pictures import pictures


class Out(NamedTuple):
  """What an encoder makes of what it sees.

  Attributes:
    tokens: `[b k d]` after the last normalisation, those of the positions that are seen.
    extra: `[b e d]`, the class token and others before them; None without.
    index, valid, hidden: those of `hide.Seen`.
    layers: of the layers whose outputs are among `taps` of the config, the tokens and their grid.
  """

  tokens: Float[Array, "b k d"]
  extra: Float[Array, "b e d"] | None
  index: Int[Array, "b k"] | None  # type: ignore[assignment]
  valid: Bool[Array, "b k"] | None
  hidden: Bool[Array, "b n"]
  layers: tuple[Any, ...] = ()


def nothing(position: Int[Array, "b"], grid: tuple[int, ...]) -> Bool[Array, "b n"]:
  """A mask that hides no position."""
  return jnp.zeros((len(position), math.prod(grid)), bool)


def grid_of(allowed: Bool[Array, "b n"]) -> tuple[int, ...]:
  """Positions along each axis, where only a batch says how many there are."""
  return allowed.shape[1:]


def scores(score: Float[Array, "*b n"] | Draw) -> Float[Array, "*b n"]:
  """How much hiding is wanted at each position."""
  return score.scores if isinstance(score, Draw) else score


def log_prob(score: Float[Array, "*b n"] | Draw) -> Float[Array, "*b n"]:
  """Of each position that a single draw is this one: of a `Draw` its own, else log softmax."""
  return score.log_prob if isinstance(score, Draw) else jax.nn.log_softmax(score)


def hidden(selected: Views) -> Bool[Array, "*b n"]:
  """What is hidden of a selection of several views."""
  return selected.hidden


def in_place(
  values: Any, hidden: Bool[Array, "*b n"], allowed: Bool[Array, "*b n"] | None = None
) -> Seen:
  """What is seen where hiders leave something at every position.

  Of a hider that gives a mask beside the values, `hide.carry`, that is the one.
  """
  if isinstance(values, tuple):
    values, hidden = values
  gone = hidden if allowed is None else hidden | ~allowed
  return Seen(values, None, allowed, gone)  # type: ignore[arg-type]


def asked(
  hidden: Bool[Array, "*b n"], allowed: Bool[Array, "*b n"] | None = None
) -> Bool[Array, "*b n"]:
  """The positions that losses ask for: hidden, and there, whatever a selection or a caller says."""
  return hidden if allowed is None else hidden & allowed


def visible(seen: Seen) -> Bool[Array, "*b n"]:
  """The positions that are seen: not hidden, and there."""
  return ~seen.hidden


def embedding(encoder: Network, seen: Seen) -> Float[Array, "b k d"]:
  """Tokens of what is seen before positions and attention, each of its own position alone."""
  return encoder(seen.values, method="embed")


def out(
  encoder: Network,
  embedded: Float[Array, "b k d"],
  seen: Seen,
  grid: tuple[int, ...],
  residual: Float[Array, "b k d"] | None = None,
) -> Out:
  """What the encoder makes of what it sees, and of a `residual` before its last normalisation."""
  more: dict[str, Any] = {} if residual is None else {"residual": residual}
  told = encoder.tell(
    embedded,
    index=seen.index,
    valid=seen.valid,
    grid=grid,
    method="attend",
    **more,
  )
  extra = told.out.shape[-2] - embedded.shape[-2]
  first = told.out[..., :extra, :] if extra else None
  inside = told.layers.get("", ())
  return Out(told.out[..., extra:, :], first, *seen[1:], inside)


def features(out: Out) -> dict[str, Array]:
  """What is evaluated of an encoder: its "tokens" in float32, their "mean", and "class" if any.

  Tokens stand at their positions, zeros where nothing is seen.
  """
  tokens = out.tokens.astype(jnp.float32)
  mean = tokens.mean(axis=-2)
  if out.valid is not None:
    mean = reduce.mean(tokens, out.valid[..., None], axis=-2)
  if out.index is not None:
    tokens = restore(tokens, out.hidden, jnp.zeros(()))
  found = {"mean": mean, "tokens": tokens}
  return found if out.extra is None else {**found, "class": out.extra[..., 0, :]}


def decoded(decoder: Network, out: Out, grid: tuple[int, ...]) -> Any:
  """What the decoder predicts at every position: `prediction`, and `loss` where it does."""
  tokens = out.tokens
  if out.extra is not None:
    tokens = jnp.concatenate([out.extra, tokens], axis=-2)
  return decoder(tokens, out.hidden, grid)


def predicted_loss(decoded: Any) -> Float[Array, "b n"]:
  """How large the decoder predicts its own loss to be at each position."""
  if decoded.loss is None:
    raise BadInput("the decoder predicts no loss: set loss_depth of the decoder in the config")
  found: Float[Array, "b n"] = decoded.loss
  return found


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


def target(values: Float[Array, "b n p"], *, aim: Target) -> Float[Array, "b n q"]:
  """What is asked back, made from the values."""
  return aim.encode(values)


def predicted_values(
  prediction: Float[Array, "b n q"], values: Float[Array, "b n p"], *, aim: Target
) -> Float[Array, "b n p"]:
  """What is predicted of the values, in their own units: the target made undone."""
  return aim.decode(prediction, values)


def apply(network: Network, x: Any, *, method: str | None = None) -> Any:
  """What a network, or one of its methods, makes of a value."""
  return network(x, method=method)


def field(batch: Mapping[str, Any], *, name: str) -> Any:
  """A field of the batch that not every batch has: None where it is not there.

  >>> field({"image": 0}, name="valid") is None
  True
  """
  return batch.get(name)


def look(batch: Mapping[str, Any], *, name: str, field: str = "image") -> dict[str, Any]:
  """The batch with another look at its examples, of `data.looks`, in the place of a field.

  Raises:
    BadInput: no such look.

  >>> look({"image": 0, "second": 1, "label": 2}, name="second")["image"]
  1
  """
  if name not in batch:
    there = ", ".join(sorted(batch))
    raise BadInput(f"the batch has no look {name!r}: name it in data.looks (it has: {there})")
  return {**batch, field: batch[name]}


def latents(batch: Mapping[str, Any], codec: Network, *, field: str = "image") -> dict[str, Any]:
  """The batch with the means of a frozen autoencoder's latents in the place of a field."""
  mean = codec(_whole(batch, field), method="encode").mean
  return {**batch, field: jax.lax.stop_gradient(mean)}


def codes(batch: Mapping[str, Any], tokenizer: Network, *, field: str = "image") -> dict[str, Any]:
  """The batch with the codes of a frozen tokenizer, over its grid, in the place of a field."""
  tokens = tokenizer(_whole(batch, field), method="encode")
  return {**batch, field: tokens.reshape(len(tokens), *tokenizer.grid)}


def _whole(batch: Mapping[str, Any], field: str) -> Array:
  """A field of a batch as a frozen network may encode it: there, with nothing missing in it."""
  if field not in batch:
    raise BadInput(
      f"the batch has no field {field!r} to encode (it has: {', '.join(sorted(batch))})"
    )
  x, valid = batch[field], batch.get("valid")
  if valid is not None and valid.ndim >= x.ndim:
    raise BadInput(f"examples are encoded whole, and values of {field!r} may be missing")
  return x


def repeated(batch: Mapping[str, Any], *, times: int) -> dict[str, Array]:
  """The batch seen several times: a leading axis of views, the same in each.

  >>> repeated({"tokens": jnp.zeros((4, 9))}, times=2)["tokens"].shape
  (2, 4, 9)
  """
  return {name: jnp.broadcast_to(x, (times, *x.shape)) for name, x in batch.items()}


def picture_values(aim: Target | None) -> dict[str, Value | str]:
  """The values that reconstructions are drawn from, where there is a `prediction`."""
  made: Value | str = "prediction"
  if aim is not None:
    made = Value(functools.partial(predicted_values, aim=aim))
  return {"predicted_values": made, "pictures": Value(pictures)}


def score_values() -> dict[str, Value | str]:
  """The values that follow from a score."""
  return {"scores": Value(scores), "log_prob": Value(log_prob)}


def base_values(
  over: Over, networks: Mapping[str, Any], aim: Target | None
) -> dict[str, Value | str]:
  """The values that there are whatever the config says, by name.

  Those of networks that are called "encoder" and "decoder" where there are such.
  """

  def positions(source: Mapping[str, Any]) -> Any:
    """The batch as positions: `values` and which are `allowed`."""
    return over.read(source)

  made: dict[str, Value | str] = {} if over.grid else {"grid": Value(grid_of)}
  made |= {
    "source": "batch",
    "positions": Value(positions),
    "values": "positions.values",
    "allowed": "positions.allowed",
    "nothing": Value(nothing),
    "asked": Value(asked),
    "visible": Value(visible),
  }
  if "encoder" in networks:
    made |= {"embedding": Value(embedding), "embedded": "embedding"}
    made["out"] = Value(out)
  if "decoder" in networks:
    made |= {"decoded": Value(decoded), "prediction": "decoded.prediction"}
    made["predicted_loss"] = Value(predicted_loss)
  if aim is not None:
    made["target"] = Value(functools.partial(target, aim=aim))
  return made
