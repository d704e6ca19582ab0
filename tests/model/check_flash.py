"""Attention cut over eight devices, the plain layer in the kernel's place: see `test_flash.py`."""

import os
import pathlib
import runpy

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + (
  " --xla_force_host_platform_device_count=8"
)

import jax
from jax.sharding import NamedSharding, PartitionSpec

from maskjax.model import attention as plain
from maskjax.model import flash, recomputed
from maskjax.train.mesh.mesh import make_mesh

tools = runpy.run_path(str(pathlib.Path(__file__).with_name("test_flash.py")))


def met_on(mesh, arrays, way=flash, kernel="_kernel", mix=plain._mixed):
  """Checks the result under a mesh; gives the shapes of the queries that a device met."""
  met = set()

  # Interpreted, the kernel would keep each of the devices waiting for the others' callbacks.
  def record(q, k, v, seen):
    met.add(q.shape)
    return mix(q, k, v, seen)

  def spread(*arrays):
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      return way.attention(*arrays)

  setattr(way, kernel, record)
  got = tools["with_gradients"](spread, *arrays)
  tools["close"](got, tools["with_gradients"](plain._mixed, *arrays))
  return met


def laid(mesh, arrays, *axes):
  """Arrays on the devices of a mesh, cut over these of its axes."""
  return jax.device_put(arrays, NamedSharding(mesh, PartitionSpec(*axes)))


if __name__ == "__main__":
  done = 0
  mesh = make_mesh(dict(preset="fsdp_tensor")).mesh
  # Heads are cut over two devices where these divide them, examples over four.
  for heads, own in ((2, 1), (3, 3)):
    arrays = tools["draw"](8, heads, 130, 130, 8)
    assert met_on(mesh, laid(mesh, arrays, "fsdp")) == {(2, own, 130, 8)}
    done += 1
  # The way of CPUs, two heads at a time.
  recomputed.TILE = 2 * 130**2
  arrays = tools["draw"](8, 4, 130, 130, 8)
  own = recomputed, "_of_heads", recomputed._of_heads
  assert met_on(mesh, laid(mesh, arrays, "fsdp"), *own) == {(2, 2, 130, 8)}
  done += 1
  # An example that no mesh divides is met by every device.
  arrays = tools["draw"](1, 2, 130, 130, 8, hidden=False)
  mesh = make_mesh(dict(preset="data")).mesh
  assert met_on(mesh, laid(mesh, arrays)) == {(1, 2, 130, 8)}
  print(f"{done + 1} of 4 on {jax.device_count()} devices")
