"""A train step over devices by `jax.pmap`: the state whole on each, the batch in parts."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

from maskjax import reduce


def mapped(train_step: Callable[..., Any], everywhere: NamedSharding) -> Callable[..., Any]:
  """`(state, batch) -> (state, metrics)` of global arrays, one program a device.

  The state lies whole on every device and gives its memory away; the batch is cut along its first
  axis. The step crosses devices where it says so, by `reduce.combine`, and nowhere else.
  """
  mesh: Any = everywhere.mesh
  count = mesh.devices.size
  apart = NamedSharding(mesh, PartitionSpec("data"))
  local = reduce.across("data")(train_step)
  step = jax.pmap(
    local,
    "data",
    in_axes=(None, 0),
    out_axes=None,
    axis_size=count,
    devices=list(mesh.devices.flat),
    donate_argnums=0,
  )

  # An axis of devices in front: every device keeps the part that it has.
  @jax.jit
  def split(batch: Any) -> Any:
    parts = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)
    return jax.lax.with_sharding_constraint(parts, jax.tree.map(lambda _: apart, parts))

  # Of several processes each gets back what its own devices hold.
  def run(state: Any, batch: Any) -> Any:
    out = step(state, split(batch))
    return out if jax.process_count() == 1 else jax.tree.map(join, out)

  def join(x: jax.Array) -> jax.Array:
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
      data = join(jax.random.key_data(x))
      return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
    parts = [shard.data for shard in x.addressable_shards]
    return jax.make_array_from_single_device_arrays(x.shape, everywhere, parts)

  return run
