"""How often a classifier is right."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from maskjax import reduce
from maskjax.errors import BadInput, unknown
from maskjax.recover import cross_entropy
from maskjax.task.answers import answer, needs
from maskjax.train.evaluators.context import Context, labelled


@needs("predict", labels=True)
def accuracy(context: Context, *, split: str = "test", batch_size: int = 512) -> dict[str, float]:
  """Top-1 accuracy of the run's own classifier on a split, and its mean cross-entropy in nats.

  Nothing is hidden, augmented or random, batch normalisation uses its running statistics, and
  labels are not smoothed. Of equal logits the lower class counts.

  Args:
    context: what the training loop hands over.
    split: that is classified.
    batch_size: examples at a time.

  Returns:
    {"accuracy": share of examples classified right, "loss": mean cross-entropy}.

  Raises:
    BadInput: no labels, a task that predicts no classes, an unknown or empty split, a batch size
      that the devices do not divide, or a loss that is not finite.
  """
  labelled(context, "accuracy")
  predict = answer(context.task, "predict", "accuracy")
  if split not in context.record.sizes:
    raise unknown("split", split, context.record.sizes)
  context.mesh.check(batch_size, 1)
  totals = np.zeros(3)
  for batch in context.examples(split, batch_size):
    tallied = _tally(predict, context.variables, context.mesh.put_whole(batch))
    totals += np.array(tallied, np.float64)
  right, nats, count = totals
  if not count:
    raise BadInput(f"split {split!r} has no examples to evaluate")
  if not np.isfinite(nats):
    raise BadInput(f"accuracy: the loss on split {split!r} is not finite at step {context.step}")
  return {"accuracy": float(right / count), "loss": float(nats / count)}


# By the task's own function, so that all evaluations of a run share one compilation.
@partial(jax.jit, static_argnames="predict")
def _tally(
  predict: Callable[..., Float[Array, "b c"]], variables: Any, batch: Mapping[str, Array]
) -> tuple[Array, Array, Array]:
  """How many valid examples are right, their cross-entropy, and how many there are."""
  logits, label, valid = predict(variables, batch), batch["label"], batch["valid"]
  right = reduce.count((jnp.argmax(logits, axis=-1) == label) & valid)
  term = cross_entropy(logits, label, valid)
  return right, term.sum, term.count
