"""Positions that data come in: tokens, cells of a table, edges of a graph, samples of a signal."""

from collections.abc import Sequence

import jax.numpy as jnp

from maskjax.over.base import Batch, Over, Positions, field_of
from maskjax.record import Record


def tokens(*, record: Record, field: str = "tokens", length: int | None = None) -> Over:
  """Tokens of a text, as ids; padding, which is not `valid`, is not allowed.

  Args:
    record: of the data.
    field: of the batch; of "caption" ids below zero are padding.
    length: tokens; that of the record's captions for "caption", else of its examples, unless said.

  >>> tokens(record=Record("text", (16,), {})).grid
  (16,)
  """
  captions = field == "caption"
  n = (record.caption if captions else record.shape[0]) if length is None else length

  def read(batch: Batch) -> Positions:
    ids = field_of(record, field, batch)
    return Positions(jnp.maximum(ids, 0), ids >= 0 if captions else batch.get("valid"))

  return Over((n,), 0, read, lambda ids: ids)


def codes(*, record: Record, shape: Sequence[int], field: str = "") -> Over:
  """Codes of a tokenizer, as ids, over the grid that it cuts a field into.

  Args:
    record: of the data.
    shape: the grid.
    field: of the batch, in whose place the codes `[b *grid]` stand; that of the kind of data
      unless said.

  >>> over = codes(record=Record("image", (4, 4, 1), {}), shape=(2, 2))
  >>> over.grid, over.read({"image": jnp.zeros((1, 2, 2), int)}).values.shape
  ((2, 2), (1, 4))
  """
  grid = tuple(shape)

  def read(batch: Batch) -> Positions:
    ids = field_of(record, field, batch)
    return Positions(ids.reshape(*ids.shape[: ids.ndim - len(grid)], -1))

  return Over(grid, 0, read, lambda ids: ids.reshape(*ids.shape[:-1], *grid))


def cells(*, record: Record, field: str = "table") -> Over:
  """Cells of the row of a table; a missing one is not allowed, and zero.

  Args:
    record: of the data, whose shape is (columns, values of each).
    field: of the batch.

  >>> over = cells(record=Record("table", (3, 1), {}))
  >>> batch = {"table": jnp.array([[[1.0], [jnp.nan], [2.0]]])}
  >>> read = over.read({**batch, "valid": jnp.array([[[True], [False], [True]]])})
  >>> read.values[0, :, 0].tolist(), read.allowed.tolist()
  ([1.0, 0.0, 2.0], [[True, False, True]])
  """

  def read(batch: Batch) -> Positions:
    values, valid = field_of(record, field, batch), batch.get("valid")
    if valid is None or valid.ndim < values.ndim:
      return Positions(values)
    return Positions(jnp.where(valid, values, 0), valid.all(axis=-1))

  shape = tuple(record.shape)
  return Over(shape[:1], shape[-1], read, lambda values: values, cell=(1,), shape=shape)


def edges(*, record: Record, number: int | None = None, field: str = "edges") -> Over:
  """Directed edges of a graph, as pairs of nodes; padding, a negative `unit`, is not allowed.

  Args:
    record: of the data.
    number: of edges that a batch is padded to, those in both directions; None: what the batch says,
      and there is no grid before.
    field: of the batch.

  >>> over = edges(record=Record("graph", (5, 2), {}), number=2)
  >>> over.read({"edges": jnp.array([[[0, 1], [0, 0]]]), "unit": jnp.array([[0, -1]])}).allowed
  Array([[ True, False]], dtype=bool)
  """

  def read(batch: Batch) -> Positions:
    # An example that fills up a batch has no nodes, and edges of any unit.
    there = (field_of(record, "unit", batch) >= 0) & (jnp.asarray(batch.get("size", 1)) > 0)[
      ..., None
    ]
    return Positions(field_of(record, field, batch), there)

  return Over(() if number is None else (number,), 0, read, lambda pairs: pairs)


def samples(*, record: Record, field: str = "") -> Over:
  """Samples of a signal without channels, each a position of one number.

  Args:
    record: of the data, whose shape ends in the number of samples.
    field: of the batch; that of the kind of data unless said.

  >>> over = samples(record=Record("mixture", (2, 100), {}))
  >>> over.grid, over.read({"mixture": jnp.zeros((1, 100))}).values.shape
  ((100,), (1, 100, 1))
  """

  def read(batch: Batch) -> Positions:
    return Positions(field_of(record, field, batch)[..., None])

  return Over((record.shape[-1],), 1, read, lambda values: values[..., 0], cell=(1,))
