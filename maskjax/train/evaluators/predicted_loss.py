"""Whether a model that predicts its own losses ranks positions as their true losses do."""

from typing import Any

import jax
import numpy as np
import scipy
from jaxtyping import Float

from maskjax.errors import BadInput
from maskjax.keys import stream
from maskjax.task.answers import answer, needs


@needs("views", kinds=("image", "table"))
def predicted_loss(context: Any, *, split: str = "test", batch_size: int = 256) -> dict[str, float]:
  r"""Spearman's rank correlation of predicted and true losses at hidden positions, by image.

  $\rho = \mathrm{corr}(\mathrm{rank}\,\hat\ell, \mathrm{rank}\,\ell)$ over the hidden positions of
  an image, ties sharing their mean rank; the mean over all images of `split` that have one. Every
  example gets one mask, the same at every step of a run, as at its first.

  Returns:
    "shown", of losses predicted with the whole image shown, from which masks are made; "hidden", of
    those predicted at the hidden positions from the visible ones, which are what is trained.

  Raises:
    BadInput: a task that predicts no losses, an unknown split, no image with ranks to compare, or
      the devices do not divide the batch size.
  """
  context.mesh.check(batch_size, 1)
  views, found = jax.jit(answer(context.task, "views", "predicted_loss")), []
  with jax.debug_nans(False):
    for i, batch in enumerate(context.examples(split, batch_size)):
      placed = {**batch, "position": np.arange(batch_size, dtype=np.int32)}
      seen = views(
        context.variables, context.mesh.put_whole(placed), stream(context.key, "batch", i)
      )
      if "predicted_loss" not in seen:
        raise BadInput("predicted_loss: this task predicts no losses: set model.decoder.loss_depth")
      flat = lambda name, seen=seen: context.mesh.get(seen[name]).reshape(batch_size, -1)
      loss = flat("loss")
      rows = [
        spearman(flat(name), loss)[batch["valid"]]
        for name in ("predicted_loss", "predicted_loss_masked")
      ]
      found.append(np.stack(rows, axis=-1))
  every = np.concatenate(found)
  every = every[np.isfinite(every).all(axis=-1)]
  if not len(every):
    raise BadInput(f"predicted_loss: no image of split {split!r} has two losses that differ")
  shown, hidden = every.mean(axis=0)
  return {"shown": float(shown), "hidden": float(hidden)}


def spearman(a: Float[np.ndarray, "b n"], b: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b"]:
  """Rank correlation of each row where neither is NaN; NaN of rows without two ranks.

  >>> spearman(np.array([[1., 2., 9., 0.]]), np.array([[3., 4., 5., np.nan]])).round(6).tolist()
  [1.0]
  """
  return np.array([_one(x, y) for x, y in zip(a, b, strict=True)])


def _one(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> float:
  there = np.isfinite(x) & np.isfinite(y)
  ranks = np.stack([scipy.stats.rankdata(x[there]), scipy.stats.rankdata(y[there])])
  centred = ranks - ranks.mean(axis=-1, keepdims=True) if there.any() else ranks
  scale = np.sqrt((centred**2).sum(axis=-1)).prod()
  return float(centred.prod(axis=0).sum() / scale) if scale > 0 else float("nan")
