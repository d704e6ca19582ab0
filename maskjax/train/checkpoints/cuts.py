"""How arrays lie over processes: the equal cells that each writes, and what each reads."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from maskjax.train.checkpoints import leaves as lv

# Arrays of fewer elements are not cut more than they are: a file has a price of its own.
LEAST = 2**12

Box = tuple[tuple[int, int], ...]  # where it begins and ends along each axis
Copies = list[tuple[Box, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Cut:
  """An array in equal cells.

  Attributes:
    shape: of the array.
    cell: the shape of a cell.
    owners: the process that writes each cell, cells in row-major order.
  """

  shape: tuple[int, ...]
  cell: tuple[int, ...]
  owners: tuple[int, ...]

  def boxes(self) -> Iterator[tuple[Box, int]]:
    """Every cell with its owner; none where there are no elements."""
    if 0 in self.shape:
      return
    starts = [range(0, n, c) for n, c in zip(self.shape, self.cell, strict=True)]
    for start, owner in zip(itertools.product(*starts), self.owners, strict=True):
      yield tuple((s, s + c) for s, c in zip(start, self.cell, strict=True)), owner

  def pieces(self, box: Box) -> Iterator[tuple[int, Box]]:
    """The cells that a box meets: their owner, and what both have.

    >>> list(Cut((4,), (2,), (0, 1)).pieces(((1, 4),)))
    [(0, ((1, 2),)), (1, ((2, 4),))]
    """
    count = [n // c for n, c in zip(self.shape, self.cell, strict=True)]
    met = [range(a // c, -(-b // c)) for (a, b), c in zip(box, self.cell, strict=True)]
    for at in itertools.product(*met):
      own = ((i * c, (i + 1) * c) for i, c in zip(at, self.cell, strict=True))
      both = ((max(a, c), min(b, d)) for (a, b), (c, d) in zip(own, box, strict=True))
      yield self.owners[int(np.ravel_multi_index(at, count)) if at else 0], tuple(both)


def index(box: Box, within: Box | None = None) -> tuple[slice, ...]:
  """The slices of a box, of all or of what another box holds."""
  around = within or [(0, 0)] * len(box)
  return tuple(slice(a - start, b - start) for (a, b), (start, _) in zip(box, around, strict=True))


def data(leaf: Any) -> Any:
  """A leaf as an array: keys as their data."""
  return jax.random.key_data(leaf) if lv.is_key(leaf) else leaf


def spans(leaf: Any) -> bool:
  """Whether a leaf, or the shape of one, lies on devices of several processes."""
  sharding = getattr(leaf, "sharding", None)
  return sharding is not None and not sharding.is_fully_addressable


def whole(shape: Sequence[int]) -> Box:
  """All of an array."""
  return tuple((0, n) for n in shape)


def cut(leaf: Any) -> Cut:
  """The cells in which a leaf that holds values is written, each by one process.

  One that lies on devices is cut as it lies there, and further where devices hold the same.
  """
  shape = tuple(np.shape(leaf))
  here = jax.process_count() > 1 and not spans(leaf)
  if not isinstance(leaf, jax.Array) or here or 0 in shape:
    return Cut(shape, shape, (0,))
  sharding: Any = spread(leaf.sharding, shape) if spans(leaf) else leaf.sharding
  cell = sharding.shard_shape(shape)
  owners: dict[tuple[int, ...], int] = {}
  for device, box in sharding.devices_indices_map(shape).items():
    start = tuple(side.start or 0 for side in box)
    owners.setdefault(start, 0 if jax.process_count() == 1 else device.process_index)
  return Cut(shape, cell, tuple(owners[start] for start in sorted(owners)))


def spread(sharding: Any, shape: Sequence[int]) -> Any:
  """A sharding cut also over the axes of the mesh along which devices hold the same.

  What a device holds of it lies within what it holds of `sharding`. Where no axis of the array is
  divided evenly, or it is small, it stays as it is.
  """
  if not isinstance(sharding, NamedSharding) or math.prod(shape) < LEAST:
    return sharding
  sizes: Mapping[str, int] = sharding.mesh.shape
  entries = [*sharding.spec, *[None] * (len(shape) - len(sharding.spec))]
  axes = [list(e) if isinstance(e, tuple) else [e] if e else [] for e in entries]
  used = {name for over in axes for name in over}
  for name in (name for name, size in sizes.items() if size > 1 and name not in used):
    left = [n // math.prod(sizes[a] for a in over) for n, over in zip(shape, axes, strict=True)]
    if even := [i for i, n in enumerate(left) if n % sizes[name] == 0]:
      axes[max(even, key=lambda i: left[i])].append(name)
  return NamedSharding(sharding.mesh, PartitionSpec(*(tuple(over) or None for over in axes)))


def boxes(sharding: Any, shape: Sequence[int]) -> dict[Any, Box]:
  """What each device of this process holds."""
  found = sharding.addressable_devices_indices_map(tuple(shape))
  return {device: _plain(box, shape) for device, box in found.items()}


def _plain(box: Sequence[slice], shape: Sequence[int]) -> Box:
  return tuple(side.indices(n)[:2] for side, n in zip(box, shape, strict=True))


def copies(leaves: Mapping[str, Any], cuts: Mapping[str, Cut]) -> dict[str, Copies]:
  """Host copies of the cells that this process writes, all transfers at once."""
  found = {name: list(_owned(leaf, cuts[name])) for name, leaf in leaves.items()}
  for parts in found.values():
    for _, part in parts:
      if isinstance(part, jax.Array):
        part.copy_to_host_async()
  return {name: [(box, native(part)) for box, part in parts] for name, parts in found.items()}


def _owned(leaf: Any, cut: Cut) -> Iterator[tuple[Box, Any]]:
  me = jax.process_index()
  mine = [box for box, owner in cut.boxes() if owner == me]
  if not isinstance(leaf, jax.Array):
    yield from ((box, leaf) for box in mine)
    return
  held = [(_plain(shard.index, cut.shape), shard.data) for shard in leaf.addressable_shards]
  for box in mine:
    around, part = next(
      (b, part)
      for b, part in held
      if all(a <= c and d <= e for (a, e), (c, d) in zip(b, box, strict=True))
    )
    if around != box:  # cut on the device: a process is sent no more than it writes
      part = jax.lax.dynamic_slice(part, [s.start for s in index(box, around)], cut.cell)
    yield box, part


def native(part: Any) -> np.ndarray:
  """A copy in host memory, rows one after the other, in this machine's order of bytes."""
  # On the CPU backend the host's array is a view of a buffer that the next step may be given: copy.
  array = np.array(part, order="C")
  return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder())


def assemble(shape: Sequence[int], sharding: Any, parts: Sequence[np.ndarray]) -> jax.Array:
  """An array on several processes' devices, of what each device of this one holds, as `boxes`."""
  devices = boxes(sharding, shape)
  made = [jax.device_put(part, device) for device, part in zip(devices, parts, strict=True)]
  return jax.make_array_from_single_device_arrays(tuple(shape), sharding, made)


def relaid(tree: Any, shardings: Any) -> Any:
  """Arrays on other shardings of the same devices, which send each other what they lack.

  All processes come here; a tree is one program, compiled once for each of its kind.
  """
  return jax.jit(_same, out_shardings=shardings)(tree)


def _same(x: Any) -> Any:
  return x
