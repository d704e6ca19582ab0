"""Positions that data come in: tokens of text, cells of a table, edges of a graph."""

import jax.numpy as jnp
from jaxtyping import Array

from maskjax.errors import BadInput
from maskjax.over.base import Batch, Over, Positions, field_of
from maskjax.record import Record


def tokens(*, record: Record, field: str = "tokens", length: int | None = None) -> Over:
  """Tokens of a text, as ids; padding, which is not `valid`, is not allowed.

  Args:
    record: of the data.
    field: of the batch; of "caption" ids below zero are padding.
    length: tokens; the record's, or that of its captions, unless said.

  Raises:
    BadInput: data of other kinds with no length.

  >>> tokens(record=Record("text", (16,), {})).grid
  (16,)
  """
  found = record.caption if field == "caption" else record.shape[0]
  n = found if length is None else length
  if length is None and record.kind != "text" and field != "caption":
    raise BadInput(f"data of kind {record.kind!r} do not say how many tokens: set over.length")

  def read(batch: Batch) -> Positions:
    ids = field_of(record, field, batch)
    valid = ids >= 0 if field == "caption" else batch.get("valid")
    return Positions(jnp.maximum(ids, 0), valid)

  return Over((n,), 0, read, lambda ids: ids)


def cells(*, record: Record, field: str = "") -> Over:
  """Cells of the row of a table; a missing one is not allowed, and zero.

  Raises:
    BadInput: data of another kind.

  >>> over = cells(record=Record("table", (3, 1), {}))
  >>> batch = {"table": jnp.array([[[1.0], [jnp.nan], [2.0]]])}
  >>> read = over.read({**batch, "valid": jnp.array([[[True], [False], [True]]])})
  >>> read.values[0, :, 0].tolist(), read.allowed.tolist()
  ([1.0, 0.0, 2.0], [[True, False, True]])
  """
  if record.kind != "table":
    raise BadInput(f"cells are those of a table, the data set holds {record.kind!r}")

  def read(batch: Batch) -> Positions:
    values, valid = field_of(record, field, batch), batch.get("valid")
    if valid is None or valid.ndim < values.ndim:
      return Positions(values)
    return Positions(jnp.where(valid, values, 0), valid[..., 0])

  return Over(
    (record.shape[0],), record.shape[-1], read, lambda values: values, {}, (1,), record.shape
  )


def edges(*, record: Record, number: int) -> Over:
  """Directed edges of a graph, as pairs of nodes; padding, a negative `unit`, is not allowed.

  Args:
    record: of the data.
    number: of edges that a batch is padded to, those in both directions.

  Raises:
    BadInput: data of another kind.

  >>> edges(record=Record("graph", (5, 2), {}), number=6).grid
  (6,)
  """
  if record.kind != "graph":
    raise BadInput(f"edges are those of a graph, the data set holds {record.kind!r}")

  def read(batch: Batch) -> Positions:
    pairs: Array = batch["edges"]
    return Positions(pairs, batch["unit"] >= 0)

  return Over((number,), 0, read, lambda pairs: pairs)
