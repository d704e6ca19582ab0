"""How well hidden pixels are recovered, against what needs no model: the mean image."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.keys import keys, stream
from maskjax.task.answers import answer, needs


@needs("views", kinds=("image", "video"))
def masked_reconstruction(
  context: Any,
  *,
  train: str = "train",
  test: str = "test",
  batch_size: int = 256,
  examples: int | None = None,
  score: functools.partial[Any] | None = None,
  select: functools.partial[Any] | None = None,
) -> dict[str, float]:
  r"""Mean squared error at the hidden pixels of a split, and its ratio to that of the mean image.

  $\mathrm{ratio} = \sum_h (\hat x - x)^2 / \sum_h (\bar x - x)^2$ over the hidden pixels h, in
  units of the normalised images; $\bar x$ is the mean training image, position by position. Every
  example of `test` gets one mask, the same at every step of a run: the task's own, or where
  `score` and `select` are given (sections as in a config, the score of `keys` and `grid` alone)
  theirs, so that methods with different masks are asked for the same. A task whose target is
  normalised per patch shows its prediction with each patch's true mean and deviation, which
  flatters this ratio. Where a task's views say nothing of what is seen, all pixels count.
  `examples` takes so many of either split, evenly spaced.

  Args:
    context: what the training loop hands over.
    train: split of the mean image.
    test: split that is reconstructed.
    batch_size: examples at a time.
    examples: of either split at most; None: all.
    score: section of a score, of `keys` and `grid`; None: the task's own masks.
    select: section of the selection that goes with it.

  Returns:
    "ratio" and "error".

  Raises:
    BadInput: the task has no views to compare or no prediction among them, only one of `score` and
      `select` is given or needs what is not there, or the devices do not divide the batch size.
  """
  context.mesh.check(batch_size, 1)
  show = answer(context.task, "views", "masked_reconstruction")
  masks = _masks(context, score, select)
  few = {} if examples is None else {"limit": examples}
  mean = _mean_image(context, train, batch_size, few)

  @jax.jit
  def errors(variables, batch, key):
    views = show(variables, batch, key, **masks(batch, key))
    if "prediction" not in views:
      raise BadInput("masked_reconstruction: this task predicts no images")
    valid = batch["valid"].reshape(-1, *[1] * len(context.record.shape))
    # Where what is hidden are no pixels ("hidden" says what), all of them are asked for.
    seen = views.get("seen", jax.numpy.nan) if "hidden" not in views else jax.numpy.nan
    hidden = jax.numpy.isnan(seen) & valid
    hidden = jax.numpy.broadcast_to(hidden, views["input"].shape)
    square = lambda guess: jax.numpy.where(hidden, (guess - views["input"]) ** 2, 0).sum()
    return square(views.get("pasted", views["prediction"])), square(mean), hidden.sum()

  totals = np.zeros(3)
  with jax.debug_nans(False):
    for i, batch in enumerate(context.examples(test, batch_size, **few)):
      batch = {**batch, "position": np.arange(batch_size, dtype=np.int32)}
      placed = context.mesh.put_whole(batch)
      totals += np.array(errors(context.variables, placed, stream(context.key, "batch", i)), float)
  ours, baseline, count = totals
  return {"ratio": float(ours / baseline), "error": float(ours / count)}


def _mean_image(context: Any, split: str, batch_size: int, few: Mapping[str, int]) -> np.ndarray:
  total, count = np.zeros(context.record.shape), 0
  for batch in context.examples(split, batch_size, **few):
    total += batch[context.record.kind][batch["valid"]].sum(axis=0, dtype=np.float64)
    count += int(batch["valid"].sum())
  return (total / count).astype(np.float32)


def _masks(
  context: Any, score: functools.partial[Any] | None, select: functools.partial[Any] | None
) -> Callable[[Any, Any], Mapping[str, Any]]:
  """The masks of a batch by these sections, as `views` takes them; none without them."""
  if score is None and select is None:
    return lambda batch, key: {}
  if score is None or select is None:
    raise BadInput("masked_reconstruction: masks of its own need both a score and a select")
  grid = context.task.network.grid
  bind.check(score, ("keys", "grid"), "recovery")

  def masks(batch: Any, key: Any) -> Mapping[str, Any]:
    drawn = keys(stream(key, "mask"), batch["position"])
    wanted = bind.call(score, {"keys": drawn, "grid": grid})
    return {"hidden": bind.call(select, {"grid": grid}, wanted)}

  return masks
