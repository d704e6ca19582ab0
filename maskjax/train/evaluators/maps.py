"""Statistics of what a task draws: maps over positions, by their names among its views."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import scipy
from jaxtyping import Float

from maskjax.errors import BadInput, unknown
from maskjax.keys import stream
from maskjax.task.answers import answer, needs


@needs("views")
def correlation(
  context: Any,
  *,
  of: Mapping[str, tuple[str, str]],
  split: str = "test",
  batch_size: int = 256,
) -> dict[str, float]:
  r"""Spearman's rank correlation of two maps, by example: does what is predicted rank as it should?

  $\rho = \mathrm{corr}(\mathrm{rank}\,a, \mathrm{rank}\,b)$ over the positions of an example at
  which neither map is NaN, ties sharing their mean rank; the mean over all examples of `split` that
  have one for every pair. Every example gets one mask, the same at every step of a run.

  Args:
    context: of the run.
    of: name → two maps among the task's views.
    split: of the data.
    batch_size: examples at a time.

  Returns:
    The mean correlation of each pair.

  Raises:
    BadInput: no such map, an unknown split, no example with ranks to compare, or the devices do not
      divide the batch size.
  """
  views, found = answer(context.task, "views", "correlation"), []
  for seen in _maps(
    context, views, split, batch_size, {name for pair in of.values() for name in pair}
  ):
    found.append(np.stack([spearman(seen[a], seen[b]) for a, b in of.values()], axis=-1))
  every = np.concatenate(found)
  every = every[np.isfinite(every).all(axis=-1)]
  if not len(every):
    raise BadInput(f"no example of split {split!r} has ranks to compare in all of {dict(of)}")
  return dict(zip(of, map(float, every.mean(axis=0)), strict=True))


@needs("views")
def mean(
  context: Any,
  *,
  of: Mapping[str, str | tuple[str, str]],
  split: str = "test",
  batch_size: int = 256,
) -> dict[str, float]:
  r"""The mean of a map, where another one is true or for each of its labels; of a mask, its rate.

  $\sum_{i \in w} x_i / |w|$ over all examples of `split`, positions at which the map is NaN left
  out.

  Args:
    context: of the run.
    of: name → a map among the task's views, or such a map and another one: of bool, where; of whole
      numbers, labels.
    split: of the data.
    batch_size: examples at a time.

  Returns:
    NAME, or for labels NAME/LABEL for each that there is.

  Raises:
    BadInput: no such map, an unknown split, or nowhere to take the mean.
  """
  pairs = {name: (one, "") if isinstance(one, str) else tuple(one) for name, one in of.items()}
  wanted = {name for pair in pairs.values() for name in pair if name}
  views = answer(context.task, "views", "mean")
  sums: dict[str, np.ndarray] = {}
  for seen in _maps(context, views, split, batch_size, wanted):
    for name, (value, where) in pairs.items():
      x = seen[value].astype(np.float64)
      for part, there in _parts(name, seen[where] if where else np.ones(x.shape, bool)):
        there = there & np.isfinite(x)
        term = np.array([x[there].sum(), there.sum()])
        sums[part] = sums.get(part, np.zeros(2)) + term
  if empty := [name for name, (_, count) in sums.items() if not count]:
    raise BadInput(f"there is nothing in split {split!r} to take the mean {empty[0]!r} of")
  return {name: float(total / count) for name, (total, count) in sums.items()}


def _maps(
  context: Any, views: Any, split: str, batch_size: int, wanted: set[str]
) -> Iterator[dict[str, np.ndarray]]:
  """The wanted maps of each batch, flat, without what pads it."""
  context.mesh.check(batch_size, 1)
  views = jax.jit(views)
  with jax.debug_nans(False):
    for i, batch in enumerate(context.examples(split, batch_size)):
      placed = {**batch, "position": np.arange(batch_size, dtype=np.int32)}
      key = stream(context.key, "batch", i)
      seen = views(context.variables, context.mesh.put_whole(placed), key)
      for name in wanted:
        if name not in seen:
          raise unknown("map of the views", name, seen)
      flat = {name: context.mesh.get(seen[name]).reshape(batch_size, -1) for name in wanted}
      yield {name: x[batch["valid"]] for name, x in flat.items()}


def _parts(name: str, where: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
  """Where means are taken, by the name of the result."""
  if where.dtype == bool:
    yield name, where
    return
  for label in np.unique(where):
    yield f"{name}/{label}", where == label


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
