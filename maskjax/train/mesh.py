"""The devices of a run, and how its arrays lie on them: batches cut, state everywhere."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from maskjax.errors import BadInput


class Mesh(NamedTuple):
  """All devices in a row called "data".

  Attributes:
    devices: how many.
    everywhere: the sharding of what every device holds whole.
    cut: the sharding of what is cut along its first axis.
  """

  devices: int
  everywhere: NamedSharding
  cut: NamedSharding

  def check(self, batch_size: int, accumulate: int) -> None:
    """Raises `BadInput` where a batch cannot be cut evenly over devices and microbatches."""
    if accumulate < 1:
      raise BadInput(f"accumulate must be at least 1, got {accumulate}")
    if batch_size < 1 or batch_size % (self.devices * accumulate):
      parts = f"{self.devices} device(s)" + (
        f" times {accumulate} microbatches" if accumulate > 1 else ""
      )
      raise BadInput(f"batch_size {batch_size} is not divisible by {parts}")

  def put(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """A host's batch on the devices."""
    return jax.device_put(dict(batch), self.cut)

  def replicated(self, shapes: Any) -> Any:
    """Shapes and dtypes, with word that every device holds them whole."""
    place = lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=self.everywhere)
    return jax.tree.map(place, shapes)


def make_mesh() -> Mesh:
  """The mesh of all devices that this process sees."""
  count = jax.device_count()
  mesh = jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,))
  return Mesh(
    count, NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
  )
