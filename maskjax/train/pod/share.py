"""Which part of every batch a process reads: the rows that lie on its devices."""

from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import NamedSharding

from maskjax.errors import BadInput


def share(cut: NamedSharding, process: int | None = None) -> tuple[int, int]:
  """The part `(i, n)` of batches that `cut` lays over all devices: the i-th of n equal ones.

  Processes whose devices hold the same rows, of a matrix cut over both, read the same part.

  Raises:
    BadInput: the devices of one process hold more rows than those of another, or some of them.
  """
  process = jax.process_index() if process is None else process
  parts = cut.num_devices
  rows: dict[int, set[int]] = {}
  of: dict[Any, Any] = dict(cut.devices_indices_map((parts,)))
  for device, (index, *_) in of.items():
    rows.setdefault(device.process_index, set()).update(range(*index.indices(parts)))
  return part(rows, process)


def part(rows: Mapping[int, set[int]], process: int) -> tuple[int, int]:
  """Which of the distinct sets of rows is that of `process`, and how many there are.

  >>> part({0: {0, 1}, 1: {2, 3}}, 1), part({0: {0, 1}, 1: {0, 1}}, 1)
  ((1, 2), (0, 1))
  """
  distinct = sorted({tuple(sorted(held)) for held in rows.values()})
  if len({row for held in distinct for row in held}) < sum(map(len, distinct)) or (
    len({len(held) for held in distinct}) > 1
  ):
    raise BadInput("mesh.shape gives processes rows of a batch that overlap: cut it another way")
  return distinct.index(tuple(sorted(rows[process]))), len(distinct)
