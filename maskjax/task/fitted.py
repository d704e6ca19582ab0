"""Networks that are fitted to training examples before step 0, and change no more."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from maskjax.model.image_map import FITTED
from maskjax.select import count_of
from maskjax.task.base import Batch, Variables
from maskjax.task.networks import Network


def fitting(modules: Mapping[str, Any]) -> dict[str, Any]:
  """The networks, by name, that are to be fitted: those that have a method `fit`."""
  return {name: module for name, module in modules.items() if hasattr(module, "fit")}


def fitted(
  modules: Mapping[str, Any], variables: Variables, batches: Iterable[Batch], field: str
) -> Variables:
  """The variables with what networks know of a field of the first training examples.

  Args:
    modules: networks by name, each with `fit(examples) -> its variables in "fitted"`, and the
      number of `examples` that it is to see.
    variables: of all networks.
    batches: of training, from the first on.
    field: that the networks are fitted to.
  """
  most, found, count = max(m.examples for m in modules.values()), [], 0
  for batch in batches:
    found.append(np.asarray(batch[field]))
    count += len(found[-1])
    if count >= most:
      break
  seen = np.concatenate(found)
  known = {name: module.fit(seen[: module.examples]) for name, module in modules.items()}
  return {**variables, FITTED: {**variables.get(FITTED, {}), **known}}


def maps(batch: Batch, *, field: str = "image", **networks: Network) -> dict[str, Any]:
  """The batch with further fields: what networks, by the names of these, make of one of its own."""
  return {**batch, **{name: network(batch[field]) for name, network in networks.items()}}


def kept(grid: tuple[int, ...], *, ratio: float) -> int:
  """How many positions are seen where a share of them all is hidden.

  >>> kept((4, 4), ratio=0.75)
  4
  """
  n = int(np.prod(grid))
  return n - int(count_of(n, ratio=ratio))
