"""How well hidden pixels are recovered, against what needs no model: the mean image."""

from typing import Any

import jax
import numpy as np

from maskjax.errors import BadInput
from maskjax.keys import stream


def recovery(
  context: Any, *, train: str = "train", test: str = "test", batch_size: int = 256
) -> dict[str, float]:
  r"""Mean squared error at the hidden pixels of a split, and its ratio to that of the mean image.

  $\mathrm{ratio} = \sum_h (\hat x - x)^2 / \sum_h (\bar x - x)^2$ over the hidden pixels h, in
  units of the normalised images; $\bar x$ is the mean training image, position by position. Every
  example of `test` gets one mask, the same at every step of a run. A task whose target is
  normalised per patch shows its prediction with each patch's true mean and deviation, which
  flatters this ratio.

  Returns:
    "ratio" and "error".

  Raises:
    BadInput: the task has no views to compare or no prediction among them, or the devices do not
      divide the batch size.
  """
  if context.task.views is None:
    raise BadInput("recovery: this task has no views to compare")
  context.mesh.check(batch_size, 1)
  mean = _mean_image(context, train, batch_size)

  @jax.jit
  def errors(variables, batch, key):
    views = context.task.views(variables, batch, key)
    if "prediction" not in views:
      raise BadInput("recovery: this task predicts no images")
    hidden = jax.numpy.isnan(views["seen"]) & batch["valid"][:, None, None, None]
    square = lambda guess: jax.numpy.where(hidden, (guess - views["input"]) ** 2, 0).sum()
    return square(views["prediction"]), square(mean), hidden.sum()

  totals = np.zeros(3)
  with jax.debug_nans(False):
    for i, batch in enumerate(context.examples(test, batch_size)):
      batch = {**batch, "position": np.arange(batch_size, dtype=np.int32)}
      placed = context.mesh.put_whole(batch)
      totals += np.array(errors(context.variables, placed, stream(context.key, "batch", i)), float)
  ours, baseline, count = totals
  return {"ratio": float(ours / baseline), "error": float(ours / count)}


def _mean_image(context: Any, split: str, batch_size: int) -> np.ndarray:
  total, count = np.zeros(context.record.shape), 0
  for batch in context.examples(split, batch_size):
    total += batch["image"][batch["valid"]].sum(axis=0, dtype=np.float64)
    count += int(batch["valid"].sum())
  return (total / count).astype(np.float32)
