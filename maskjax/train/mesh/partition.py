"""Which axis of each leaf of a state is cut over which axis of the devices."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import PartitionSpec

from maskjax.errors import BadInput, unknown
from maskjax.train.optimizers.rules import match, names

LEAST = 2**16
PARAMS = "variables/params/"
# A block's first matrices are cut along what goes out, its second along what comes in: between the
# two nothing crosses devices. Vocabularies are cut along their entries.
TENSOR: tuple[tuple[str, tuple[str | None, ...]], ...] = (
  (r"\b(qkv|up|gate|predict)/kernel$", (None, "tensor")),
  (r"\b(out|down)/kernel$", ("tensor", None)),
  (r"\bembed/embedding$", ("tensor", None)),
)

Shape = tuple[int, ...]


def partition(
  state: Any,
  sizes: Mapping[str, int],
  *,
  rules: Sequence[Any] = (),
  least: int = LEAST,
) -> Any:
  """For each leaf of a state the device axes that its own axes are cut over.

  `sizes` are the lengths of the device axes. A parameter lies as the first of `rules`, pairs
  (regular expression, axes), that finds its name says. All others of at least `least` entries are
  cut over "fsdp" along the largest axis that it divides; where "tensor" is longer than 1, the
  matrices of blocks first over that. Moments and averages lie as their parameters do, where they
  have a shape for it. Packed masks are whole everywhere; every other leaf goes by size.

  Raises:
    BadInput: a rule that matches nothing or does not divide what it cuts, an unknown axis.
  """
  paths, tree = jax.tree.flatten(names(state))
  leaves = dict(zip(paths, jax.tree.leaves(state), strict=True))
  params = {p.removeprefix(PARAMS): x for p, x in leaves.items() if p.startswith(PARAMS)}
  given = match(params, rules, default=None).values
  specs = {}
  for name, leaf in params.items():
    if given[name] is not None:
      specs[name] = _asked(name, leaf.shape, given[name], sizes)
    else:
      specs[name] = by_size(leaf.shape, sizes, least, _usual(name, leaf.shape, sizes, least))

  def lies(path: str, leaf: Any) -> PartitionSpec:
    if path.endswith("/bits"):  # A bit a weight; bytes cut where weights are not would be moved.
      return PartitionSpec()
    spec = next((specs[name] for name in _suffixes(path) if name in specs), None)
    if spec is None or not _fits(leaf.shape, tuple(spec), sizes):
      return by_size(leaf.shape, sizes, least)
    return spec

  return jax.tree.unflatten(tree, [lies(path, leaf) for path, leaf in leaves.items()])


def by_size(
  shape: Shape, sizes: Mapping[str, int], least: int, begun: Sequence[Any] = ()
) -> PartitionSpec:
  """What has been `begun`, and the largest of the other axes that "fsdp" divides cut over that.

  >>> tuple(by_size((8, 12), {"fsdp": 4}, least=1))
  (None, 'fsdp')
  >>> tuple(by_size((8, 12), {"fsdp": 4}, least=1, begun=(None, "tensor")))
  ('fsdp', 'tensor')
  """
  spec = [*begun, *[None] * (len(shape) - len(begun))]
  free = [i for i, size in enumerate(shape) if spec[i] is None and size % sizes["fsdp"] == 0]
  if free and sizes["fsdp"] > 1 and math.prod(shape) >= least:
    spec[max(free, key=lambda i: shape[i])] = "fsdp"
  while spec and spec[-1] is None:
    spec.pop()
  return PartitionSpec(*spec)


def _usual(name: str, shape: Shape, sizes: Mapping[str, int], least: int) -> tuple[Any, ...]:
  """How a parameter is cut over "tensor", if at all."""
  for pattern, spec in TENSOR:
    if re.search(pattern, name) and math.prod(shape) >= least and sizes["tensor"] > 1:
      return spec if _fits(shape, spec, sizes) else ()
  return ()


def _asked(name: str, shape: Shape, given: Any, sizes: Mapping[str, int]) -> PartitionSpec:
  """The partition that a rule gives a parameter, found possible."""
  if isinstance(given, str) or not isinstance(given, Sequence):
    raise BadInput(f"mesh.rules: {given!r} for {name} is no tuple of axes such as (None, 'tensor')")
  spec = tuple(tuple(axes) if isinstance(axes, list) else axes for axes in given)
  used = [axis for axes in spec for axis in axes_of(axes)]
  for axis in used:
    if axis not in sizes:
      raise unknown("axis in mesh.rules", axis, sizes)
  if len(set(used)) < len(used) or len(spec) > len(shape):
    raise BadInput(f"mesh.rules: {spec} cannot cut {name} of shape {shape}")
  if not _fits(shape, spec, sizes):
    lengths = ", ".join(f"{axis}={sizes[axis]}" for axis in used)
    raise BadInput(f"mesh.rules: {spec} with {lengths} does not divide {name} of shape {shape}")
  return PartitionSpec(*spec)


def _fits(shape: Shape, spec: Sequence[Any], sizes: Mapping[str, int]) -> bool:
  """Whether every axis is divided evenly."""
  parts = [math.prod(sizes[axis] for axis in axes_of(axes)) for axes in spec]
  even = (size % n == 0 for size, n in zip(shape, parts, strict=False))
  return len(parts) <= len(shape) and all(even)


def axes_of(axes: Any) -> tuple[Any, ...]:
  """The device axes in one entry of a partition: none, one or several."""
  if axes is None:
    return ()
  return (axes,) if isinstance(axes, str) else tuple(axes)


def _suffixes(path: str) -> Iterator[str]:
  """The names that a parameter could have whose moment or average a leaf is."""
  parts = path.split("/")
  return ("/".join(parts[i:]) for i in range(len(parts)))
