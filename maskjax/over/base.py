"""What positions are, for the rest of the grammar: values in a row, and which of them are there."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from jaxtyping import Array, Bool

from maskjax.errors import BadInput
from maskjax.record import Record

Batch = Mapping[str, Any]


class Positions(NamedTuple):
  """What stands at the positions of a batch.

  Attributes:
    values: `[b n d]`, or ids `[b n]`; of several fields in a row one array each, by name.
    allowed: `Bool[b n]`, which positions are there, and may be hidden; None where all are. What
      stands at the others is zero.
  """

  values: Any
  allowed: Bool[Array, "b n"] | None = None


class Over(NamedTuple):
  """A way to see a batch as positions; pure functions of arrays.

  Attributes:
    grid: positions along each axis; empty where only a batch says how many there are.
    width: numbers at a position; 0 where it is an id.
    read: `batch -> Positions`.
    back: `values -> array`, an example's field again.
    parts: field → its places in the row, where there are several.
    cell: sides of what a position covers of its field, `(*space)`; empty where it has none.
    shape: of the field, `(*space, channels)`.
    classes: of labels, how many there are; 0 of values.
    fields: where there are several, each by itself, in their order in the row.
  """

  grid: tuple[int, ...]
  width: int
  read: Callable[[Batch], Positions]
  back: Callable[[Any], Any]
  parts: Mapping[str, slice] = MappingProxyType({})
  cell: tuple[int, ...] = ()
  shape: tuple[int, ...] = ()
  classes: int = 0
  fields: Mapping[str, "Over"] = MappingProxyType({})


def field_of(record: Record, field: str, batch: Batch) -> Array:
  """The field of a batch that positions are of: the one called as the kind of data, unless said.

  Raises:
    BadInput: the batch has none.
  """
  name = field or record.kind
  if name not in batch:
    raise BadInput(f"the batch has no field {name!r} (it has: {', '.join(sorted(batch))})")
  return batch[name]
