"""Which devices a collective operation joins, in each of the ways that programs write it."""

import math
import re
from collections.abc import Iterator, Sequence

import numpy as np

from maskjax.train.plan.hlo import Op


def group(op: Op, devices: int) -> tuple[int, ...]:
  """The first of the groups of devices that a collective joins, as positions in the mesh.

  >>> from maskjax.train.plan.hlo import operation
  >>> at = lambda text: group(operation(f"  %r = f32[] all-reduce(%x), {text}, y=1"), 8)
  >>> at("replica_groups={{0,2},{1,3}}"), at("replica_groups={}")
  ((0, 2), (0, 1, 2, 3, 4, 5, 6, 7))
  >>> at("replica_groups=[2,4]<=[4,2]T(1,0)")
  (0, 2, 4, 6)
  >>> at("replica_groups=mesh['a'=2,'b'=4] {'a'}")
  (0, 4)
  >>> at("source_target_pairs={{1,3},{3,1}}")
  (1, 3)
  """
  text = op.attributes
  if found := re.search(r"replica_groups=\[([\d,]+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)", text):
    count, _ = _numbers(found[1])
    return tuple(_iota(found[2]).reshape(count, -1)[0].tolist())
  if found := re.search(r"replica_groups=(mesh\[.*?\].*?)\{([^}]*)\}", text):
    return _axes(found[1], found[2])
  if found := re.search(r"(?:replica_groups|source_target_pairs)=\{\{([\d,]+)\}", text):
    return tuple(_numbers(found[1]))
  return tuple(range(devices))


def _axes(mesh: str, names: str) -> tuple[int, ...]:
  """The first group along some axes of a mesh.

  >>> _axes("mesh['a'=2,'b'=4]", "'b'"), _axes("mesh['a'=2,'b'=4], device_ids=([8]T(0)) ", "'a'")
  ((0, 1, 2, 3), (0, 4))
  """
  sizes = {name: int(size) for name, size in re.findall(r"'([^']*)'=(\d+)", mesh)}
  order = re.search(r"device_ids=\(\[[\d,]+\](?:<=)?(\[[\d,]+\](?:T\([\d,]+\))?)?", mesh)
  ids = _iota(order[1]) if order and order[1] else np.arange(math.prod(sizes.values()))
  places = [_places(name, size, names) for name, size in sizes.items()]
  return tuple(ids.reshape(tuple(sizes.values()))[np.ix_(*places)].reshape(-1).tolist())


def _places(name: str, size: int, names: str) -> list[int]:
  """Which places along an axis are in the first group; 'a':(2)4 is its middle, cut as 2, 4, rest.

  >>> _places("a", 8, "'a'"), _places("a", 8, "'b'"), _places("a", 8, "'a':(2)2")
  ([0, 1, 2, 3, 4, 5, 6, 7], [0], [0, 2])
  """
  places = [0]
  for before, length in re.findall(rf"'{re.escape(name)}'(?::\((\d+)\)(\d+))?", names):
    count = int(length or size)
    stride = size // (int(before or 1) * count)
    places = [at + i * stride for at in places for i in range(count)]
  return places


def _iota(text: str) -> np.ndarray:
  """The integers that `[4,2]T(1,0)` counts.

  >>> _iota("[2,2]T(1,0)").tolist()
  [0, 2, 1, 3]
  """
  shape, _, order = text.partition("T")
  sides = _numbers(shape.strip("[]"))
  whole = np.arange(math.prod(sides)).reshape(sides)
  return (whole.transpose(_numbers(order.strip("()"))) if order else whole).reshape(-1)


def _numbers(text: str) -> list[int]:
  return [int(n) for n in text.split(",") if n]


def varying(members: Sequence[int], coordinates: Sequence[Sequence[int]]) -> Iterator[int]:
  """The axes of the machine along which members of a group differ.

  >>> list(varying((0, 2), [(0, 0), (0, 1), (1, 0), (1, 1)]))
  [0]
  """
  places = [coordinates[member] for member in members]
  for axis, values in enumerate(zip(*places, strict=True)):
    if len(set(values)) > 1:
      yield axis
