"""How sparse the weights are: the share that is exactly zero."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from maskjax.weights.held import named_leaves


def sparsity(
  context: Any, *, group: Sequence[int] | None = None, layers: bool = False
) -> dict[str, float]:
  """The share of exact zeros among the weights that some mask reaches, a learned one applied.

  These are the leaves of two axes or more with a zero in them: a dense layer has none.

  Args:
    context: what the training loop hands over.
    group: (n, m): also the share of their groups of m consecutive inputs (axis -2 of a kernel) with
      at most n that are not zero: 1 says that every one of them keeps n:m sparsity.
    layers: whether to tell the share of each such leaf by its name too.

  Returns:
    "total", "whole" (of all parameters), with `group` "groups", with `layers` "layer/NAME".
  """
  params = context.mesh.get(context.task.final(context.variables)["params"])
  names, arrays, _ = named_leaves(params)
  leaves = [np.asarray(leaf, np.float32) for leaf in arrays]
  size = sum(leaf.size for leaf in leaves)
  named = [x for x in zip(names, leaves, strict=True) if x[1].ndim > 1 and (x[1] == 0).any()]
  masked = [leaf for _, leaf in named]
  zeros = sum(int((leaf == 0).sum()) for leaf in masked)
  result = {"total": zeros / max(sum(leaf.size for leaf in masked), 1), "whole": zeros / size}
  if group is not None:
    result["groups"] = _groups(masked, *group)
  if layers:
    result |= {f"layer/{name}": float((leaf == 0).mean()) for name, leaf in named}
  return result


def _groups(leaves: Sequence[np.ndarray], most: int, of: int) -> float:
  """The share of groups of `of` along axis -2 with at most `most` that are not zero."""
  kept = [
    (leaf != 0).reshape(*leaf.shape[:-2], -1, of, leaf.shape[-1]).sum(axis=-2).ravel()
    for leaf in leaves
    if leaf.shape[-2] % of == 0
  ]
  return float(np.mean(np.concatenate(kept) <= most)) if kept else 0.0
