"""Places inside a block, where what stands there can be told and multiplied by a gate."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from maskjax import masks
from maskjax.errors import BadInput

# The collections that bring gates and taps to the blocks, and the variable of a block in them.
GATES, TAPS, OWN = "gates", "taps", "places"


class Place(NamedTuple):
  """What stands at a place, and what a gate of fewer axes than that is one number for.

  Attributes:
    tap, gate: shapes, for messages.
    spread: the index that makes such a gate broadcast against what stands there.
    axes: how many axes such a gate has at least.
  """

  tap: str
  gate: str
  spread: tuple[Any, ...]
  axes: int = 1


ALL = slice(None)
PLACES = {
  "input": Place("*b n d", "*b n", (..., None)),
  "attention": Place("*b heads n n", "*b n n", (..., None, ALL, ALL), 2),
  "heads": Place("*b n heads d/heads", "*b heads", (..., None, ALL, None)),
  "hidden": Place("*b n m", "*b m", (..., None, ALL)),
  "output": Place("*b n d", "*b n", (..., None)),
}

Gate = Float[Array, "..."] | Callable[[Float[Array, "*b n d"]], Float[Array, "..."]]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Asked:
  """A place that is asked for; if not `told` it must be there, but what stands there stays."""

  told: bool = True


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Tap:
  """What stood at a place that was asked for.

  Attributes:
    value: what stood there, None where it is not to be told.
    grid: of the tokens; empty where the place has no axis of tokens.
  """

  value: Any
  grid: tuple[int, ...] = dataclasses.field(default=(), metadata={"static": True})


class Places:
  """The places of one block, at which it calls this; see `maskjax.model.layers` for what comes out.

  A tap is what stands at a place before its gate. A block of which nothing is asked computes what
  it would without places.

  Args:
    block: whose places these are, bound; None where there are none.
    x: what comes into the block, `[*b *space d]`; gates that are functions get it, before any gate.
    axes: how many axes of space there are; at places they are one axis of tokens.
  """

  def __init__(self, block: nn.Module | None, x: Array | None = None, axes: int = 1):
    self._block, self._x, self._axes = block, x, axes
    self._gates: Mapping[str, Gate] = {}
    self._asked: Mapping[str, Asked | Tap] = {}
    if block is not None:
      self._gates, self._asked = (block.get_variable(kind, OWN, {}) for kind in (GATES, TAPS))

  def __call__(self, place: str, value: Array) -> Array:
    """Tells what stands at a place if it is asked for, and returns it gated."""
    if not self.taps(place) and place not in self._gates:
      return value
    # Between the tokens and the channels of heads lies one axis more.
    grid, tokens = ((), value) if place == "heads" else self._tokens(value)
    if self.taps(place):
      self.tap(place, tokens, grid)
    gate = self.gate(place, tokens.shape)
    return value if gate is None else masks.gated(tokens, gate).reshape(value.shape)

  def taps(self, place: str) -> bool:
    """Whether what stands at a place is asked for."""
    return place in self._asked

  def tap(self, place: str, value: Array, grid: tuple[int, ...] = ()) -> None:
    """Tells what stands at a place that is asked for.

    Raises:
      BadInput: the block has told it before, in the same call of the network.
    """
    asked = self._asked[place]
    if not isinstance(asked, Asked):
      raise BadInput(f"a block ran twice in one call, and both times something stood at {place!r}")
    told = Tap(value, grid) if asked.told else Tap(None, grid)
    self._block.put_variable(TAPS, OWN, {place: told})  # type: ignore[union-attr]

  def gate(self, place: str, shape: tuple[int, ...]) -> Float[Array, "..."] | None:
    """The gate at a place, to be broadcast against what has this shape; None where there is none.

    Raises:
      BadInput: a gate that is no float, or of another shape.
    """
    if place not in self._gates:
      return None
    given = self._gates[place]
    gate = given(self._tokens(self._x)[1]) if callable(given) else jnp.asarray(given)
    if self.taps(f"{place}_gate"):
      self.tap(f"{place}_gate", gate)
    return spread(place, gate, shape)

  def _tokens(self, value: Any) -> tuple[tuple[int, ...], Array]:
    *batch, channels = value.shape
    batch, grid = batch[: -self._axes], tuple(batch[-self._axes :])
    if self._axes > 1:
      value = value.reshape(*batch, -1, channels)
    return grid, value


NOWHERE = Places(None)


def spread(place: str, gate: Float[Array, "..."], shape: tuple[int, ...]) -> Float[Array, "..."]:
  """A gate as it broadcasts against what stands at `place` and has this `shape`.

  One with as many axes as that, or with none, is taken as it is, axes of length 1 and all; one with
  fewer is of the positions ("input", "output"), pairs, heads or neurons of each example, or of all.

  Raises:
    BadInput: a gate that is no float, or does not fit.

  >>> spread("heads", jnp.ones(3), (8, 5, 3, 4)).shape
  (1, 3, 1)
  >>> spread("output", jnp.ones((1, 1, 4)), (8, 5, 4)).shape
  (1, 1, 4)
  """
  if not jnp.issubdtype(gate.dtype, jnp.floating):
    raise BadInput(
      f"a gate is of floats, 1 = kept, got {gate.dtype} at {place!r}: of a mask it is 1 - hidden"
    )
  known, fit = PLACES[place], None
  if gate.ndim in (0, len(shape)):
    fit = gate
  elif known.axes <= gate.ndim < len(shape):
    fit = gate[known.spread]
  if fit is None or not _broadcasts(fit.shape, shape):
    raise BadInput(
      f"a gate at {place!r} is [{known.gate}] or broadcasts to [{known.tap}], here {tuple(shape)}; "
      f"got {gate.shape}"
    )
  return fit


def _broadcasts(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
  """Whether the first shape broadcasts to the other."""
  return len(one) <= len(other) and all(
    size in (1, whole) for size, whole in zip(one[::-1], other[::-1], strict=False)
  )
