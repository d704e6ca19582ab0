"""Batches: examples made ready one by one, and put together."""

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from maskjax.data.source import Example, Source, generator
from maskjax.errors import BadInput

Batch = dict[str, np.ndarray]


def training(
  index: int,
  *,
  source: Source,
  order: Sequence[int],
  seed: int,
  start: int,
  step: int,
  rows: range,
  augment: Callable[[Example, np.random.Generator], Example] | None,
  prepare: Callable[[Example], Example],
  finish: Callable[[Batch], Batch],
) -> Batch:
  """Batch `index` of a run: `rows` of `step` examples each time, that `order` lays out.

  What an example draws depends on `seed` and its position alone.
  """

  def example(position: int) -> Example:
    stored = source[order[position]]
    return augment(stored, generator((seed, 0), position)) if augment else prepare(stored)

  begin = start + index * step
  out = finish(_stack([example(begin + row) for row in rows]))
  return {**out, "position": np.asarray(rows, np.int32)}


def testing(
  index: int,
  *,
  source: Source,
  indices: Iterable[int],
  size: int,
  prepare: Callable,
  finish: Callable,
) -> Batch:
  """Batch `index` of a pass over some examples, padded with zeros to `size`; `valid` tells."""
  rows = itertools.islice(indices, index * size, (index + 1) * size)
  out = finish(_stack([prepare(source[int(i)]) for i in rows]))
  count = len(next(iter(out.values())))
  out.setdefault("valid", np.ones(count, bool))
  return {
    k: np.concatenate([v, np.zeros((size - count, *v.shape[1:]), v.dtype)]) for k, v in out.items()
  }


def _stack(rows: Sequence[Example]) -> Batch:
  """Arrays over examples; Python integers become int32."""
  for row in rows[1:]:
    if odd := sorted(rows[0].keys() ^ row.keys()):
      raise BadInput(
        f"some examples have {odd[0]!r} and others of the same split have not"
        + ": data.classes=(...) keeps those of some classes" * (odd[0] == "label")
      )
  whole = {key for key, value in rows[0].items() if isinstance(value, (int, np.integer))}
  return {
    key: np.array([row[key] for row in rows], np.int32)
    if key in whole
    else np.stack([np.asarray(row[key]) for row in rows])
    for key in rows[0]
  }
