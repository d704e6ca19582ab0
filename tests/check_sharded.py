"""Runs every op over 8 simulated devices; test_conformance.py starts it in its own process."""

import os
import pathlib
import re
import runpy
from functools import partial

os.environ["XLA_FLAGS"] = (
  "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=8"
)

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from maskjax import score, select, weights


def main():
  """Exits with an error where a sharded result differs from that on one device."""
  rows = runpy.run_path(str(pathlib.Path(__file__).with_name("conformance.py")))["ROWS"]
  mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
  for name, row in rows.items():
    check_leading_axis(name, row, mesh)
  check_noise(mesh)
  check_position_axis(mesh)
  check_trees()
  print(f"{len(rows)} rows on {jax.device_count()} devices")


def check_leading_axis(name, row, mesh):
  """jit with sharded inputs, and shard_map, give what one device gives."""
  spec = PartitionSpec("data")
  inputs = row.inputs(jax.random.key(0))
  expected = jax.jit(row.op)(*inputs)
  placed = jax.device_put(inputs, NamedSharding(mesh, spec))
  agree(name, jax.jit(row.op)(*placed), expected)

  def local(*parts):
    out = row.op(*parts)
    return jax.tree.map(lambda x: jax.lax.psum(x, "data"), out) if row.sums else out

  out_spec = PartitionSpec() if row.sums else spec
  mapped = jax.shard_map(local, mesh=mesh, in_specs=spec, out_specs=out_spec)
  agree(name, jax.jit(mapped)(*placed), expected)


def check_noise(mesh):
  """What filters noise keeps every example on its device."""
  draw = jax.jit(partial(score.color_noise, grid=(4, 4), color="green"))
  keys = jax.random.split(jax.random.key(0), 8)
  placed = jax.device_put(keys, NamedSharding(mesh, PartitionSpec("data")))
  assert "all-gather" not in draw.lower(placed).compile().as_text(), "color_noise gathers"


def check_position_axis(mesh):
  """Scores cut over devices: the same mask, and no device ever holds more than its part."""
  scores = jnp.round(50 * jax.random.normal(jax.random.key(0), (2, 4096)))
  allowed = jnp.arange(4096) % 3 != 0
  sharding = NamedSharding(mesh, PartitionSpec(None, "data"))
  hide = jax.jit(lambda s: select.top(s, ratio=0.3, allowed=allowed))
  placed = jax.device_put(scores, sharding)
  agree("top over positions", hide(placed), hide(scores))
  compiled = hide.lower(placed).compile().as_text()
  assert "all-reduce" in compiled
  assert "all-gather" not in compiled, "top gathers its scores"


def check_trees():
  """A tree cut over two axes of devices: nothing leaves a device but a few numbers."""
  mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
  place = lambda *spec: NamedSharding(mesh, PartitionSpec(*spec))
  draw = lambda i, *shape: jnp.round(9 * jax.random.normal(jax.random.key(i), shape)) / 9
  tree = {"a": draw(0, 64, 48), "b": [draw(1, 8, 16, 64), None, draw(2, 40)], "c": draw(3, 32, 64)}
  shardings = {
    "a": place("data", "model"),
    "b": [place(None, None, ("data", "model")), None, place()],
    "c": place(None, "model"),
  }
  placed = jax.device_put(tree, shardings)
  allowed = jax.tree.map(lambda x: x > -1, tree)
  for name, hide in {
    "top of a tree": lambda s: select.top(s, ratio=0.4, axis=None),
    "top of a tree, allowed": lambda s: select.top(s, count=1500, allowed=allowed, axis=None),
  }.items():
    exchange(name, jax.jit(hide, out_shardings=shardings), hide, placed, tree)

  for scope in ("layer", "global"):
    tx = weights.hold(optax.sgd(0.1), select=partial(select.top, ratio=0.4), scope=scope)
    move = lambda p, tx=tx: tx.update(p, tx.init(p), p)[0]
    exchange(f"hold, {scope}", jax.jit(move, out_shardings=shardings), jax.jit(move), placed, tree)


def exchange(name, sharded, plain, placed, tree):
  """Equal to one device, bit for bit, and only small sums cross devices."""
  jax.tree.map(np.testing.assert_array_equal, sharded(placed), plain(tree))
  compiled = sharded.lower(placed).compile().as_text()
  for moved in ("all-gather", "all-to-all", "collective-permute", "reduce-scatter"):
    assert moved not in compiled, f"{name}: {moved}"
  results = re.findall(r"= (.*?) all-reduce(?:-start)?\(", compiled)
  assert results, f"{name} exchanges nothing"
  for result in results:
    for dims in re.findall(r"\w+\[([\d,]*)\]", result):
      assert np.prod([int(n) for n in dims.split(",") if n]) <= 8, f"{name}: {result}"


def agree(name, got, expected):
  """Same structure, dtypes and values."""
  assert jax.tree.structure(got) == jax.tree.structure(expected), name
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
    assert a.dtype == b.dtype, name
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=name)


if __name__ == "__main__":
  main()
