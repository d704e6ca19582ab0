"""Where the weights lie that an optimiser is left to change."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from maskjax import weights
from maskjax.select import top


def selected(context: Any, *, depth: int = 2) -> dict[str, float]:
  """What the masks of `update_only` or `hold` leave free, among all weights that have a mask.

  Parts of the network are the first `depth` names of a weight's path.

  Returns:
    "share", of the weights that are free; "overlap", the share of the free ones that are among the
    equally many of largest magnitude; for each part "where/PART", the share of the free weights
    that lies in it, and "density/PART", the share of its weights that is free.

  Raises:
    BadInput: the optimiser has no masks.
  """
  hidden = jax.tree_util.tree_leaves_with_path(context.mesh.get(weights.masks(context.opt_state)))
  params = dict(jax.tree_util.tree_leaves_with_path(context.mesh.get(context.variables["params"])))
  free = {path: ~np.asarray(mask) for path, mask in hidden}
  count, size = (sum(int(part(m)) for m in free.values()) for part in (np.sum, np.size))
  large = jax.jit(partial(top, count=count, axis=None))([jnp.abs(params[p]) for p in free])
  both = sum(int(np.sum(m & big)) for m, big in zip(free.values(), large, strict=True))
  parts: dict[str, list[np.ndarray]] = {}
  for path, mask in free.items():
    name = jax.tree_util.keystr(path[:depth], simple=True, separator="/")
    parts.setdefault(name, []).append(mask.ravel())
  result = {"share": count / size, "overlap": both / max(count, 1)}
  for name, masks in parts.items():
    mask = np.concatenate(masks)
    result[f"where/{name}"] = float(mask.sum() / max(count, 1))
    result[f"density/{name}"] = float(mask.mean())
  return result
