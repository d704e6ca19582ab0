"""Attention on TPUs by JAX's Pallas kernel, which keeps no logits in memory."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float

# Fewer queries or keys than these are left to XLA: their logits are small beside everything else.
LEAST = 1024
# The kernel meets so many queries and keys at once, the more the better.
EDGES = (512, 256, 128)
# Axes of a mesh over which examples are cut, and that of heads; others do not matter here.
EXAMPLES, HEADS = ("slice", "data", "fsdp"), "tensor"


def placed() -> str | None:
  """The platform that the code being traced is for, where it is known how arrays lie on devices.

  What is traced under a mesh, `jax.sharding.use_abstract_mesh`, is for the mesh's devices. Without
  one the process must have a single device: nothing but a mesh can divide work among several.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.abstract_device is None:
    return jax.default_backend() if jax.device_count() == 1 else None
  return mesh.abstract_device.platform


def able(q: Float[Array, "*b h q d"], k: Float[Array, "*b h k d"], v: Array) -> bool:
  """Whether this is for a TPU, large enough, and known how arrays lie on the devices."""
  large = min(q.shape[-2], k.shape[-2]) >= LEAST
  return placed() == "tpu" and large and q.shape[-1] == v.shape[-1]


def attention(
  q: Float[Array, "*b h q d"],
  k: Float[Array, "*b h k d"],
  v: Float[Array, "*b h k d"],
  seen: Bool[Array, "*b 1 1 k"] | None,
) -> Float[Array, "*b h q d"]:
  """`softmax(q kᵀ / √d) v` over the keys that are seen; values are zero where they are not.

  A query that sees no key gets the mean of values that are zero.

  Source: Dao et al., "FlashAttention", 2022; the kernel is `jax.experimental.pallas.ops.tpu`'s.
  """
  every = jnp.ones((*q.shape[:-3], 1, 1, k.shape[-2]), bool) if seen is None else seen
  return spread(_kernel, q, k, v, every)


def spread(
  kernel: Callable[..., Array],
  q: Float[Array, "*b h q d"],
  k: Float[Array, "*b h k d"],
  v: Float[Array, "*b h k d"],
  seen: Bool[Array, "*b 1 1 k"] | None,
) -> Float[Array, "*b h q d"]:
  """`kernel(q, k, v, seen)`, on every device of a mesh of the examples and heads that lie there.

  Args:
    kernel: of arrays with one leading axis.
    q: queries.
    k: keys.
    v: values.
    seen: which keys are there; None, all.

  Returns:
    What the kernel makes of all.
  """
  *batch, heads, n, d = q.shape
  flat = lambda x: x.reshape(math.prod(batch), *x.shape[len(batch) :])
  arrays = [x if x is None else flat(x) for x in (q, k, v, seen)]
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.manual_axes or mesh.size == 1:
    return kernel(*arrays).reshape(*batch, heads, n, d)
  cut = tuple(axis for axis in EXAMPLES if axis in mesh.shape)
  rows = cut if math.prod(batch) % math.prod(mesh.shape[axis] for axis in cut) == 0 else None
  columns = HEADS if HEADS in mesh.shape and heads % mesh.shape[HEADS] == 0 else None
  own, shared = PartitionSpec(rows, columns), PartitionSpec(rows)
  spread = jax.shard_map(kernel, in_specs=(own, own, own, shared), out_specs=own, check_vma=False)
  return spread(*arrays).reshape(*batch, heads, n, d)


def _kernel(q: Array, k: Array, v: Array, seen: Array) -> Array:
  # Where no TPU is asked for, nothing of Pallas is imported.
  from jax.experimental.pallas.ops.tpu import flash_attention as tpu

  (n, d), m = q.shape[-2:], k.shape[-2]
  down, across = _edge(n), _edge(m)
  q, k, v = _padded(q, down, -2), _padded(k, across, -2), _padded(v, across, -2)
  # Queries are of segment 1, as are keys that are seen: only those of one segment meet.
  groups = tpu.SegmentIds(
    q=jnp.ones((q.shape[0], q.shape[-2]), jnp.int32),
    kv=_padded(seen[:, 0, 0].astype(jnp.int32), across, -1),
  )
  sides = dict(
    block_b=1, block_q=down, block_k_major=across, block_k=across,
    block_q_major_dkv=down, block_k_major_dkv=across, block_k_dkv=across, block_q_dkv=down,
    block_k_major_dq=across, block_k_dq=across, block_q_dq=down,
  )  # fmt: skip
  out = tpu.flash_attention(
    q, k, v, segment_ids=groups, sm_scale=d**-0.5, block_sizes=tpu.BlockSizes(**sides)
  )
  return out[..., :n, :]


def _edge(n: int) -> int:
  """The largest block that adds an eighth at most to n."""
  return next(e for e in EDGES if -n % e <= n // 8 or e == EDGES[-1])


def _padded(x: Array, edge: int, axis: int) -> Array:
  room = [(0, 0)] * x.ndim
  room[axis] = (0, -x.shape[axis] % edge)
  return jnp.pad(x, room)
