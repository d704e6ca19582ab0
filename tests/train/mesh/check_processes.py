"""One of two processes with two devices each: what a mesh does with arrays that span both."""

import faulthandler
import os
import sys
import time

os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
)

import jax
import jax.numpy as jnp
import numpy as np

from maskjax import reduce
from maskjax.train.mesh.mesh import PRESETS, make_mesh
from maskjax.train.pod import threads


def step(state, batch):
  """A step whose figures are known: it counts, and adds up its batch."""
  total = reduce.combine(jax.lax.psum, jnp.sum(batch["x"]))
  params = jax.tree.map(lambda w: w + total, state["variables"]["params"])
  return {**state, "variables": {"params": params}}, {"total": total}


def gather(process):
  """Gathers more leaves than XLA has programs under way, while a process runs ahead of the other.

  With fewer than two threads a device it is here that both stop for ever.
  """
  mesh = make_mesh({"preset": "fsdp"})
  whole = np.arange(8.0, dtype=np.float32)
  cut = mesh.put({"x": np.split(whole, 2)[process]})["x"]
  for _ in range(10):
    time.sleep(0.1 * (process == 0))
    for leaf in mesh.get([cut] * 120):
      np.testing.assert_array_equal(leaf, whole)


def main(process, port):
  """Exits with an error where an array is not what it should be, or after minutes of waiting."""
  faulthandler.dump_traceback_later(240, exit=True)
  # As few cores as anybody has, whatever whoever runs this has said.
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
  for name in threads.VARIABLES:
    os.environ.pop(name, None)
  threads.enough()
  jax.distributed.initialize(f"127.0.0.1:{port}", 2, process)
  assert jax.device_count() == 4
  whole = np.arange(8.0, dtype=np.float32)
  first = {"variables": {"params": {"w": np.zeros((4, 3), np.float32)}}, "key": jax.random.key(7)}
  for preset in PRESETS:
    mesh = make_mesh({"preset": preset, "least": 1})
    batch = mesh.put({"x": np.split(whole, 2)[process]})
    np.testing.assert_array_equal(mesh.get(batch["x"]), whole)
    np.testing.assert_array_equal(mesh.get(mesh.put_whole(whole)), whole)
    state, compiled = mesh.place(first), mesh.compile(step)
    for i in range(3):
      state, figures = compiled(state, batch)
      assert float(figures["total"]) == 28, preset
      w = mesh.get(state["variables"]["params"]["w"])
      np.testing.assert_array_equal(w, np.full((4, 3), 28.0 * (i + 1)))
      assert not state["variables"]["params"]["w"].is_fully_addressable
    assert jax.random.key_data(state["key"]).tolist() == [0, 7]
    again = mesh.place(state)
    assert again["variables"]["params"]["w"].sharding.is_equivalent_to(
      mesh.state(first)["variables"]["params"]["w"].sharding, 2
    )
  gather(process)
  print("done")


if __name__ == "__main__":
  main(int(sys.argv[1]), int(sys.argv[2]))
