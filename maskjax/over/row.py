"""Several fields in one row of positions: words and patches, frames and patches."""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped

from maskjax import bind
from maskjax.errors import BadInput, unknown
from maskjax.over.base import Batch, Over, Positions
from maskjax.record import Record


def row(
  *,
  record: Record,
  parts: Mapping[str, functools.partial[Over]],
  order: Sequence[str] = (),
  shapes: Mapping[str, Sequence[int]] | None = None,
) -> Over:
  """Positions of several fields, one after the other.

  Args:
    record: of the data.
    parts: name → another function of this package, bound.
    order: of the parts in the row; alphabetical unless said.
    shapes: of an example of each field, where networks make some of them; else as the record says.

  Returns:
    Positions whose values are a mapping, an array for each part; `parts` says where in the row
    each lies. The grid is the row.

  Raises:
    BadInput: no parts, or an order of others.

  >>> from maskjax.over import patches, tokens
  >>> made = row(
  ...   record=Record("image", (4, 4, 1), {}, caption=3),
  ...   parts=dict(image=functools.partial(patches, patch=(2, 2)),
  ...              words=functools.partial(tokens, field="caption")))
  >>> made.grid, made.parts["words"]
  ((7,), slice(4, 7, None))
  """
  if not parts:
    raise BadInput("over.row puts several fields in a row: over.parts names none")
  names = tuple(order) or tuple(sorted(parts))
  if sorted(names) != sorted(parts):
    raise BadInput(f"over.order is {names}, the parts are {', '.join(sorted(parts))}")

  def shape(part: functools.partial[Over]) -> dict[str, Any]:
    field = part.keywords.get("field") or record.kind
    return {"shape": shapes[field]} if shapes and field in shapes else {}

  made: dict[str, Over] = {
    name: bind.call(parts[name], {"record": record, **shape(parts[name])}) for name in names
  }
  sizes = [math.prod(over.grid) for over in made.values()]
  ends = [0, *itertools.accumulate(sizes)]
  places = {name: slice(*ends[i : i + 2]) for i, name in enumerate(made)}

  def read(batch: Batch) -> Positions:
    found = {name: over.read(batch) for name, over in made.items()}
    values = {name: positions.values for name, positions in found.items()}
    if all(positions.allowed is None for positions in found.values()):
      return Positions(values)
    size = len(next(iter(values.values())))
    all_of = lambda n: jnp.ones((size, n), bool)
    allowed = [
      all_of(n) if p.allowed is None else p.allowed
      for n, p in zip(sizes, found.values(), strict=True)
    ]
    return Positions(values, jnp.concatenate(allowed, axis=-1))

  def back(values: Mapping[str, Any]) -> dict[str, Array]:
    return {name: made[name].back(part) for name, part in values.items()}

  return Over((ends[-1],), 0, read, back, places, fields=made)


def sizes(parts: Mapping[str, slice]) -> tuple[int, ...]:
  """How many positions each field of a row has.

  >>> sizes({"a": slice(0, 2), "b": slice(2, 5)})
  (2, 3)
  """
  return tuple(place.stop - place.start for place in parts.values())


def only(x: Any, parts: Mapping[str, slice], *, names: Sequence[str]) -> Any:
  """Some fields of a row: of values as a mapping, of a mask `[b n]` one after another.

  Args:
    x: values of all fields by name, or a mask or scores over the row.
    parts: where each field lies, as the graph offers it.
    names: of the fields.

  Raises:
    BadInput: no such field.

  >>> only(jnp.arange(5)[None], {"a": slice(0, 2), "b": slice(2, 5)}, names=("b",)).tolist()
  [[2, 3, 4]]
  """
  for name in names:
    if name not in parts:
      raise unknown("field of the row", name, parts)
  if isinstance(x, Mapping):
    return {name: x[name] for name in names}
  return jnp.concatenate([part(x, parts, name=name) for name in names], axis=-1)


def part(
  x: Shaped[Array, "*b n"] | Shaped[Array, "*b n d"], parts: Mapping[str, slice], *, name: str
) -> Shaped[Array, "..."]:
  """The positions of one field of a row: of a mask `[b n]` along its last axis.

  Args:
    x: a mask or scores over the row.
    parts: where each field lies, as the graph offers it.
    name: of the field.

  Raises:
    BadInput: no such field.

  >>> part(jnp.arange(5)[None], {"a": slice(0, 2), "b": slice(2, 5)}, name="b").tolist()
  [[2, 3, 4]]
  """
  if name not in parts:
    raise unknown("field of the row", name, parts)
  return x[:, parts[name]]


def apart(x: Shaped[Array, "*b n"], parts: Mapping[str, slice]) -> dict[str, Shaped[Array, "..."]]:
  """The positions of each field of a row, by name: of a mask `[b n]` along its last axis.

  Args:
    x: a mask or scores over the row.
    parts: where each field lies, as the graph offers it.

  >>> apart(jnp.arange(3)[None], {"a": slice(0, 1), "b": slice(1, 3)})["b"].tolist()
  [[1, 2]]
  """
  return {name: x[..., place] for name, place in parts.items()}


def rest_hidden(hidden: Bool[Array, "*b k"], parts: Mapping[str, slice]) -> Bool[Array, "*b n"]:
  """A mask of the first fields of a row as one of all: of the others nothing is seen.

  Args:
    hidden: of the first fields, or of all.
    parts: where each field lies, as the graph offers it.

  Raises:
    BadInput: a mask that ends within a field.

  >>> rest_hidden(jnp.array([[False]]), {"a": slice(0, 1), "b": slice(1, 3)}).tolist()
  [[False, True, True]]
  """
  size, ends = hidden.shape[-1], [place.stop for place in parts.values()]
  if size not in ends:
    raise BadInput(f"a mask of {size} positions ends within a field; fields end at {ends}")
  return jnp.pad(
    hidden, [(0, 0)] * (hidden.ndim - 1) + [(0, ends[-1] - size)], constant_values=True
  )
