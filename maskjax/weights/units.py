"""Structured pruning: runs of indices along one axis of a weight that are hidden together."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax.errors import BadInput

Unit = tuple[int, int]


def is_unit(value: Any) -> bool:
  """Whether a value is an (axis, size) pair of integers.

  >>> is_unit((0, 64)), is_unit([-1, 1]), is_unit({"kernel": (0, 64)})
  (True, True, False)
  """
  return (
    isinstance(value, tuple | list)
    and len(value) == 2
    and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
  )


def check(unit: Unit, shape: tuple[int, ...], name: str) -> None:
  """Makes sure that a weight of this shape can be cut into units.

  Raises:
    BadInput: no (axis, size) pair, no such axis, a size that does not divide it.
  """
  if not is_unit(unit) or not -len(shape) <= unit[0] < len(shape):
    raise BadInput(f"units of {name} {shape} are (axis, size), got {unit!r}")
  axis, size = unit
  if size < 1 or shape[axis] % size:
    raise BadInput(f"units of {size} do not divide axis {axis} of {name} {shape}")


def scores_of(scores: Float[Array, "..."], unit: Unit) -> Float[Array, "u"]:
  """The mean score of each unit: `size` indices along `axis`, whole along all other axes.

  >>> scores_of(jnp.array([[0.0, 2.0], [1.0, 1.0], [5.0, 5.0], [7.0, 7.0]]), (0, 2)).tolist()
  [1.0, 6.0]
  """
  axis, size = unit[0] % scores.ndim, unit[1]
  others = tuple(i for i in range(scores.ndim) if i != axis)
  # First down to one number for each index, so that no more than those are ever moved.
  return jnp.mean(jnp.mean(scores, axis=others).reshape(-1, size), axis=1)


def spread(hidden: Bool[Array, "u"], unit: Unit, shape: tuple[int, ...]) -> Bool[Array, "..."]:
  """The mask of a weight of this shape from that of its units.

  >>> spread(jnp.array([True, False]), (-1, 1), (2, 2)).tolist()
  [[True, False], [True, False]]
  """
  axis, size = unit[0] % len(shape), unit[1]
  along = [-1 if i == axis else 1 for i in range(len(shape))]
  return jnp.broadcast_to(jnp.repeat(hidden, size).reshape(along), shape)
