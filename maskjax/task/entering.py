"""Where what is hidden are no positions of the encoder's: frequencies of an image in patches.

Both are ways to see one field: what is left after hiding goes back to the field, which enters the
encoder at positions of its own, the section `input` of a config, and predictions come back the same
way. So losses, targets and masks are all about the positions of `over`.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax.errors import BadInput
from maskjax.hide import Seen
from maskjax.over import Over
from maskjax.record import Record
from maskjax.task.node import Value
from maskjax.task.pictures import over_field
from maskjax.task.values import Out, decoded, in_place, out
from maskjax.task.whole import at_positions, to_field


def entered(shown: Float[Array, "b *space c"], input: Over, record: Record) -> Seen:
  """What enters the encoder of a field in which something was hidden: all of its positions."""
  values, allowed = input.read({record.kind: shown})
  return in_place(values, jnp.zeros(values.shape[:2], bool), allowed)


def at_over(
  predicted: Float[Array, "b m p"], input: Over, over: Over, record: Record
) -> Float[Array, "b n d"]:
  """What is predicted at the positions of `input`, at those of `over`."""
  return at_positions(input.back(predicted), over, record)


def degraded_pictures(
  values: Float[Array, "b n d"],
  predicted_values: Float[Array, "b n d"],
  hidden: Bool[Array, "b n"],
  shown: Float[Array, "b *space c"],
  over: Over,
) -> dict[str, Array]:
  """What a reconstruction is drawn from: as `pictures`, with "seen" what the encoder is shown.

  No pixel of it is hidden: "hidden" is the mask, drawn as a map of the positions of `over`.
  """
  pasted = jnp.where(hidden[..., None], predicted_values, values)
  kinds = {"input": values, "prediction": predicted_values, "pasted": pasted}
  drawn = {name: over.back(x) for name, x in kinds.items()}
  return {**drawn, "seen": shown, "hidden": over_field(hidden, over)}


def entering(seen: Any, networks: Any) -> dict[str, Value | str]:
  """The values that are otherwise where the config has an `input`.

  Args:
    seen: what the chain of hide makes.
    networks: by name.

  Raises:
    BadInput: a hider that drops positions.
  """
  if seen.keeps:
    raise BadInput(
      "with an input of its own an encoder sees all of it: no hider may drop positions"
    )
  made: dict[str, Value | str] = {
    "masked": seen,
    "shown": Value(to_field, {"x": "masked.values"}),
    "seen": Value(entered),
    "pictures": Value(degraded_pictures),
  }
  grid = {"grid": "input.grid"}
  if "encoder" in networks:
    made["out"] = Value(out, grid)
  if "decoder" in networks:
    made["decoded"] = Value(decoded, grid)
    made["prediction"] = Value(at_over, {"predicted": "decoded.prediction"})
  return made


def map_tokens(maps: tuple[Float[Array, "b h w d"], Bool[Array, "b h w"] | None]) -> Out:
  """The last maps of a convolutional network as what an encoder makes: a token for each pixel.

  Args:
    maps: what a network that carries masks returns, `(x, hidden)`.

  >>> map_tokens((jnp.zeros((1, 2, 3, 4)), None)).tokens.shape
  (1, 6, 4)
  """
  x, hidden = maps
  gone = jnp.zeros(x.shape[:-1], bool) if hidden is None else hidden
  return Out(x.reshape(len(x), -1, x.shape[-1]), None, None, None, gone.reshape(len(x), -1))
