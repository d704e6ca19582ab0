"""What the training loop hands to an evaluator, and the checks that all evaluators share."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from maskjax.errors import BadInput
from maskjax.record import Record

Batch = Mapping[str, np.ndarray]


class Context(Protocol):
  """One evaluation of one run, as the training loop sees it.

  Attributes:
    record: facts about the data set.
    key: typed PRNG key of this evaluator, the same at every step, so that draws are equal too.
    step: training step of the weights in `variables`.
    task: the run's task; its answers are functions by name, see `maskjax.task.answers`.
    variables: the weights that are evaluated, never changed.
    opt_state: the optimiser's state, with its masks.
    mesh: `mesh.put_whole(batch)` places a batch that every process holds, `mesh.get(tree)` brings
      arrays back, `mesh.check(batch_size, 1)` says whether a batch can be cut.
  """

  record: Record
  key: Any
  step: int
  task: Any
  variables: Any
  opt_state: Any
  mesh: Any

  def features(
    self, split: str, pooling: str, limit: int | None = None
  ) -> tuple[np.ndarray, np.ndarray]:
    """Frozen features `[n, d]` f32 and labels `[n]` int32 of a split, nothing hidden.

    With `limit` of so many evenly spaced examples.
    """

  def batches(self, batch_size: int, seed: int, steps: int) -> Iterator[Batch]:
    """`steps` augmented training batches: "image", "label", "position"."""

  def examples(self, split: str, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
    """One pass over a split or `limit` of it, not augmented: "image", "label", "valid"."""


def labelled(context: Context, evaluator: str) -> int:
  """Number of classes of the context's data; BadInput names the evaluator if there is no label."""
  if context.record.classes == 0:
    raise BadInput(f"evaluator {evaluator!r} needs labels, and this data set has none")
  return context.record.classes


def features(
  context: Context, split: str, pooling: str, limit: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
  """Features and labels of a split, sorted by class and otherwise in their order.

  Sorted, so that whatever depends on order (ties, held-out tenths) is balanced over the classes.
  BadInput if a feature is not finite, or the split is empty or has no labels.
  """
  several = {} if limit is None else {"limit": limit}
  x, y = context.features(split, pooling, **several)
  if len(x) == 0:
    raise BadInput(f"split {split!r} has no examples to evaluate")
  if np.min(y) < 0:
    raise BadInput(f"split {split!r} has no labels: give the evaluator one that has")
  if not np.isfinite(x).all():
    raise BadInput(f"features of split {split!r} are not finite at step {context.step}")
  order = np.argsort(y, kind="stable")
  return np.asarray(x, np.float32)[order], np.asarray(y, np.int32)[order]


def first_of(context: Context, split: str, batch_size: int, examples: int) -> Iterator[Batch]:
  """The first `examples` of a split, whole batches of them, with their "position" in a batch."""
  batches = itertools.islice(context.examples(split, batch_size), -(-examples // batch_size))
  for batch in batches:
    yield {**batch, "position": np.arange(batch_size, dtype=np.int32)}
