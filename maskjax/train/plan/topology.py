"""Machines to plan for: their chips' public figures, and how the chips are linked."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from maskjax.errors import BadInput, unknown

GIB = 2**30


class Chip(NamedTuple):
  """What one chip can do at most.

  Attributes:
    name: as its maker calls it.
    memory: bytes that a program may take of its memory.
    flops: dense bf16 FLOP/s; those of f32 at JAX's default precision are in `flops32`.
    flops32: on TPUs one bf16 pass, on GPUs TF32.
    bandwidth: bytes/s of its memory.
    link: bytes/s that one of its links sends.
    source: where the figures stand.
  """

  name: str
  memory: int
  flops: float
  flops32: float
  bandwidth: float
  link: float
  source: str


_PAGE = "https://cloud.google.com/tpu/docs"
_LIMIT = "memory as libtpu 0.0.42 lets a program have; the rest"
# Links: a chip's bandwidth between chips in one direction, over its 6 (v4, v5p) or 4 ports.
CHIPS = {
  "v4": Chip("TPU v4", int(30.75 * GIB), 275e12, 275e12, 1.2e12, 50e9, f"{_LIMIT} {_PAGE}/v4"),
  "v5e": Chip("TPU v5e", int(15.75 * GIB), 197e12, 197e12, 819e9, 50e9, f"{_LIMIT} {_PAGE}/v5e"),
  "v5p": Chip(
    "TPU v5p", int(95.74 * GIB), 459e12, 459e12, 2765e9, 100e9, f"{_LIMIT} {_PAGE}/v5p"
  ),
  "v6e": Chip("TPU v6e", int(31.25 * GIB), 918e12, 918e12, 1.6e12, 100e9, f"{_LIMIT} {_PAGE}/v6e"),
  "gpu": Chip(
    "H100 SXM", int(80e9), 989e12, 494.5e12, 3.35e12, 450e9,
    "NVIDIA H100 data sheet: SXM, dense, NVLink 900 GB/s in both directions",
  ),
}  # fmt: skip
FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
SMALL = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")
# Chips of the largest slice that can be had; beyond 2x4x4, sides are multiples of 4.
LARGEST = {"v4": 4096, "v5p": 6144}
GPUS = ("1", "2", "4", "8")


class Topology(NamedTuple):
  """Chips side by side.

  Attributes:
    name: as the user gave it, "v5e:16x16".
    family: what stands before the colon.
    shape: chips along each axis.
    chip: each of them.
  """

  name: str
  family: str
  shape: tuple[int, ...]
  chip: Chip

  @property
  def devices(self) -> int:
    """How many chips there are, each one device to JAX."""
    return math.prod(self.shape)

  def links(self, axes: Iterable[int]) -> int:
    """Links along some axes of that chip which has fewest: 2 along an axis that is a ring, else 1.

    >>> parse("v5e:8x16").links([0, 1]), parse("v5p:4x4x8").links([0, 1, 2])
    (3, 6)
    """
    if self.family == "gpu":
      return 1
    return sum(2 if self._ring(self.shape[axis]) else 1 for axis in axes)

  def _ring(self, side: int) -> bool:
    # v5e and v6e close an axis only at its full length, v4 and v5p from a cube of 4 on.
    return side == 16 if len(self.shape) == 2 else min(self.shape) >= 4


def parse(name: str) -> Topology:
  """The topology that "v5e:16x16", "v5p:8x8x16" or "gpu:8" names.

  Raises:
    BadInput: an unknown family, or a shape in which it cannot be had.

  >>> parse("v5p:8x8x16").devices
  1024
  """
  family, _, text = name.partition(":")
  if family not in CHIPS:
    raise unknown("family of topology", family, CHIPS)
  shape = tuple(int(side) if side.isdigit() else 0 for side in text.split("x"))
  known = {"gpu": GPUS, "v5e": FLAT, "v6e": FLAT}.get(family, SMALL)
  if text not in known and not (family in LARGEST and _cubes(shape, LARGEST[family])):
    most = LARGEST.get(family)
    also = f", and sides of multiples of 4, as 4x4x8, up to {most} chips" if most else ""
    raise BadInput(f"unknown shape {text!r} of {family} (known: {', '.join(known)}{also})")
  return Topology(name, family, shape, CHIPS[family])


def _cubes(shape: tuple[int, ...], most: int) -> bool:
  fits = len(shape) == 3 and 0 < math.prod(shape) <= most
  return fits and list(shape) == sorted(shape) and not any(side % 4 for side in shape)
