"""Squared gradients and the masks they lead to, on 1 and 8 devices; test_prepare.py starts it."""

import os
from functools import partial

# What the tests compile with, and eight devices.
os.environ["XLA_FLAGS"] = (
  f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8 "
  "--xla_cpu_collective_call_terminate_timeout_seconds=600"
)

import flax.linen as nn
import jax
import numpy as np
import optax

from maskjax import select, weights
from maskjax.task.base import Task
from maskjax.task.prepare import prepared, squared_gradients
from maskjax.train.mesh.mesh import make_mesh
from maskjax.train.state import init_opt_state, start

MESHES = {
  "data": {"preset": "data"},
  "fsdp": {"preset": "fsdp", "shape": {"data": 2, "fsdp": 4}, "least": 64},
}


def classifier():
  """The least task that has logits, with matrices to cut."""
  network = nn.Sequential([nn.Dense(16), nn.gelu, nn.Dense(4)])
  init = lambda key, batch: network.init(key, batch["x"])
  predict = lambda variables, batch: network.apply(variables, batch["x"])
  return Task(init=init, loss=None, answers={"predict": predict})


def main():
  """Exits with an error where eight devices measure or choose what one does not."""
  task, rng = classifier(), np.random.default_rng(0)
  batches = [
    {
      "x": rng.normal(size=(16, 32)).astype(np.float32),
      "label": rng.integers(0, 4, 16).astype(np.int32),
      "position": np.arange(16, dtype=np.int32),
    }
    for _ in range(2)
  ]
  choose = partial(select.top, ratio=0.9)
  tx = weights.update_only(optax.sgd(0.1), score=weights.fisher, select=choose)

  def masks(mesh):
    ready = prepared(task, squared_gradients=squared_gradients(task=task, examples=20))
    ready = mesh.reading(ready)
    begin = partial(start, ready, tx, batch=batches[0], ema=False)
    state = mesh.place(jax.jit(begin)(jax.random.key(0)))
    variables = ready.prepare(state.variables, map(mesh.put_everywhere, batches))
    found = jax.device_get(variables["prepared"]["squared_gradients"])
    chosen = jax.jit(lambda variables: weights.masks(init_opt_state(tx, variables)))
    return found, jax.device_get(chosen(variables))

  squares, hidden = masks(make_mesh({}, jax.devices()[:1]))
  near = partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-9)
  for name, section in MESHES.items():
    more, theirs = masks(make_mesh(section))
    jax.tree.map(near, more, squares)
    jax.tree.map(np.testing.assert_array_equal, theirs, hidden)
    print(name, "as one device")


if __name__ == "__main__":
  main()
