"""Runs every op over 8 simulated devices; test_conformance.py starts it in its own process."""

import os
import pathlib
import runpy

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from maskjax import select


def main():
  """Exits with an error where a sharded result differs from that on one device."""
  rows = runpy.run_path(str(pathlib.Path(__file__).with_name("conformance.py")))["ROWS"]
  mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
  for name, row in rows.items():
    check_leading_axis(name, row, mesh)
  check_position_axis(mesh)
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


def agree(name, got, expected):
  """Same structure, dtypes and values."""
  assert jax.tree.structure(got) == jax.tree.structure(expected), name
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
    assert a.dtype == b.dtype, name
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=name)


if __name__ == "__main__":
  main()
