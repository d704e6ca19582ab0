"""Arrays that lie on several processes' devices, whole in the memory of each."""

from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from maskjax.train.checkpoints import cuts
from maskjax.train.checkpoints.leaves import spec
from maskjax.train.pod.waiting import waiting


def get(tree: Any) -> Any:
  """Arrays whole in the memory of every process, whatever devices they lie on."""
  if jax.process_count() == 1:
    return jax.device_get(tree)
  return jax.tree_util.tree_map_with_path(_fetch, tree)


def _fetch(path: Any, x: Any) -> Any:
  if here(x):
    return jax.device_get(x)
  return gathered(x, jax.tree_util.keystr(path, simple=True, separator="/") or "an array")


def here(leaf: Any) -> bool:
  """Whether this process holds all of a leaf."""
  return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated


def gathered(leaf: jax.Array, name: str) -> np.ndarray:
  """A leaf of which every process holds a part, whole; its devices hold it whole for a moment."""
  everywhere = NamedSharding(leaf.sharding.mesh, PartitionSpec())  # type: ignore[attr-defined]
  with waiting(f"all parts of {name} {spec(name, leaf)}"):
    whole = cuts.relaid(leaf, everywhere)
    found = np.asarray(whole.addressable_data(0))
    whole.delete()
  return found
