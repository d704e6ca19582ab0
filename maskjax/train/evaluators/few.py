"""A few labelled examples of each class, in batches without an end."""

from collections.abc import Iterator

import numpy as np

from maskjax.errors import BadInput
from maskjax.train.evaluators.context import Batch, Context


def few(
  context: Context, split: str, labels: int, batch_size: int, seed: int
) -> Iterator[dict[str, np.ndarray]]:
  """Endless batches of `labels` examples of each class, in a new order at every pass.

  Args:
    context: what the training loop hands over.
    split: that is drawn from, without replacement.
    labels: examples of each class.
    batch_size: examples in a batch; where these are more than there are, some come twice.
    seed: of the draw and of the orders.

  Returns:
    Batches as the context's `examples`, none of them padding, with a "position" in the batch.

  Raises:
    BadInput: a class with fewer examples than `labels`.
  """
  rng = np.random.default_rng(seed)
  label = np.concatenate([b["label"][b["valid"]] for b in context.examples(split, batch_size)])
  chosen = []
  for number, name in enumerate(context.record.class_names):
    own = np.flatnonzero(label == number)
    if len(own) < labels:
      raise BadInput(f"class {name!r} of {split!r} has {len(own)} examples, fewer than {labels=}")
    chosen.append(rng.choice(own, labels, replace=False))
  return _batches(_rows(context, split, np.concatenate(chosen), batch_size), batch_size, rng)


def _rows(
  context: Context, split: str, chosen: np.ndarray, batch_size: int
) -> dict[str, np.ndarray]:
  """The chosen examples of a split, of which no others are kept."""
  parts: list[Batch] = []
  start = 0
  for batch in context.examples(split, batch_size):
    places = np.flatnonzero(batch["valid"])
    here = places[np.isin(start + np.arange(len(places)), chosen)]
    parts.append({name: value[here] for name, value in batch.items() if name != "valid"})
    start += len(places)
  return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _batches(
  rows: dict[str, np.ndarray], batch_size: int, rng: np.random.Generator
) -> Iterator[dict[str, np.ndarray]]:
  count, left = len(rows["label"]), np.zeros(0, np.int64)
  while True:
    while len(left) < batch_size:
      left = np.concatenate([left, rng.permutation(count)])
    now, left = left[:batch_size], left[batch_size:]
    batch = {name: value[now] for name, value in rows.items()}
    yield {**batch, "position": np.arange(batch_size, dtype=np.int32)}
