"""Sparse deltas: what fine-tuning changed in a network, as a file to put on top of the first one.

python -m maskjax.train.checkpoints.delta BASE TUNED FILE     from two workdirs
"""

import argparse
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from maskjax.errors import BadInput, Restart
from maskjax.train.checkpoints.export import export, read
from maskjax.train.checkpoints.load import masked
from maskjax.train.workdirs import remote

Tree = Mapping[str, Any]
INDEX, VALUES, HIDDEN = "index", "values", "hidden"


def delta(base: Tree, tuned: Tree) -> dict[str, Any]:
  """The entries of `tuned` whose bits are not those of `base`, two trees of the same arrays.

  Nested dicts like theirs, of the leaves that changed, each in place of its array a dict of
  `index`, row-major positions, rising, and the `values` there; where more than half of a leaf
  changed, of its `values` alone, whole; where all that changed is zero now and a mask is smaller,
  of `hidden` alone, a bit for each entry, row-major, the first in the highest bit of a byte.

  Raises:
    BadInput: an array that the other tree lacks, or has in another shape or dtype.

  >>> base = {"kernel": np.zeros((2, 3), np.float32), "bias": np.ones(2, np.float32)}
  >>> tuned = {**base, "kernel": np.array([[0, 0, 0], [0, 7, 0]], np.float32)}
  >>> {name: part.tolist() for name, part in delta(base, tuned)["kernel"].items()}
  {'index': [4], 'values': [7.0]}
  >>> dense, pruned = np.ones(9, np.float32), np.float32([0, 1, 1, 1, 1, 1, 1, 1, 0])
  >>> delta({"kernel": dense}, {"kernel": pruned})["kernel"]["hidden"].tolist()
  [128, 128]
  """
  ours, theirs = _flat(base), _flat(tuned)
  if set(ours) != set(theirs):
    raise BadInput(f"only one of the two has {', '.join(sorted(set(ours) ^ set(theirs))[:4])}")
  changed = {}
  for name, after in theirs.items():
    before = ours[name]
    if (before.shape, before.dtype) != (after.shape, after.dtype):
      kinds = [f"{x.dtype} {x.shape}" for x in (before, after)]
      raise BadInput(f"{name} is {kinds[0]} in the base and {kinds[1]} in the other")
    differs = (_bytes(before) != _bytes(after)).any(axis=1)
    places = np.flatnonzero(differs)
    kind = np.uint32 if after.size <= 2**32 else np.int64
    each = np.dtype(kind).itemsize + after.dtype.itemsize
    if not _bytes(after)[places].any() and -(-after.size // 8) < each * len(places):
      changed[f"{name}/{HIDDEN}"] = np.packbits(differs)
    elif 2 * len(places) > after.size:
      changed[f"{name}/{VALUES}"] = after
    elif len(places):
      changed[f"{name}/{INDEX}"] = places.astype(kind)
      changed[f"{name}/{VALUES}"] = after.reshape(-1)[places]
  return unflatten_dict(changed, sep="/")


def apply(base: Tree, change: Tree) -> dict[str, Any]:
  """The tree whose `delta` from `base` this is, equal to it bit for bit.

  Raises:
    BadInput: the delta of another network.

  >>> base, tuned = {"w": np.zeros(4)}, {"w": np.array([0.0, -0.0, 0.0, 5.0])}
  >>> apply(base, delta(base, tuned))["w"].tolist()
  [0.0, -0.0, 0.0, 5.0]
  """
  flat, changes = _flat(base), _flat(change)
  for path, values in changes.items():
    name, _, part = path.rpartition("/")
    if part == INDEX:
      continue
    if part not in (VALUES, HIDDEN) or name not in flat:
      raise BadInput(f"the delta changes {path}, which the base lacks")
    if part == HIDDEN:
      flat[name] = _zeroed(name, flat[name], values)
      continue
    index = changes.get(f"{name}/{INDEX}")
    whole, size = flat[name], flat[name].size
    fits = whole.shape == values.shape if index is None else index.shape == values.shape
    if whole.dtype != values.dtype or not fits or (index is not None and index.max() >= size):
      raise BadInput(f"the delta of {name} does not fit the base's {whole.dtype} {whole.shape}")
    flat[name] = values if index is None else whole.copy()
    if index is not None:
      flat[name].reshape(-1)[index] = values
  return unflatten_dict(flat, sep="/")


def save(path: str | os.PathLike[str], base: Tree, tuned: Tree) -> None:
  """Writes `delta(base, tuned)` as safetensors; `load` puts it on the base again.

  Raises:
    BadInput: see `delta`, and where nothing changed or the file cannot be written.
  """
  change = delta(base, tuned)
  if not change:
    raise BadInput("the two are equal: there is no delta to write")
  export(path, change)


def load(path: str | os.PathLike[str], base: Tree) -> dict[str, Any]:
  """The tuned network: `base` with the delta of a file on top.

  Raises:
    BadInput: see `apply`, and where the file cannot be read.
  """
  return apply(base, read(path))


def between(base: str, tuned: str) -> tuple[Tree, Tree]:
  """The variables of two workdirs that both have; of others, a statistic say, nothing is kept.

  Learned masks are applied: what they hide is zero.

  Raises:
    BadInput: no good checkpoint there.
  """
  with remote.mirrored(base) as a, remote.mirrored(tuned) as b:
    ours, theirs = masked(pathlib.Path(a)), masked(pathlib.Path(b))
  shared = [name for name in theirs if name in ours]
  return {name: ours[name] for name in shared}, {name: theirs[name] for name in shared}


def _zeroed(name: str, base: np.ndarray, bits: np.ndarray) -> np.ndarray:
  """`base` with zeros where a delta's bits say so."""
  if bits.dtype != np.uint8 or bits.shape != (-(-base.size // 8),):
    raise BadInput(f"the delta of {name} does not fit the base's {base.dtype} {base.shape}")
  hidden = np.unpackbits(bits, count=base.size).astype(bool).reshape(base.shape)
  return np.where(hidden, base.dtype.type(0), base)


def _flat(tree: Tree) -> dict[str, np.ndarray]:
  return {name: np.asarray(leaf) for name, leaf in flatten_dict(dict(tree), sep="/").items()}


def _bytes(array: np.ndarray) -> np.ndarray:
  """The bytes of each entry, `[n, bytes]`."""
  flat = np.ascontiguousarray(array).reshape(-1)
  return flat.view(np.uint8).reshape(flat.size, array.dtype.itemsize)


def main(argv: Sequence[str]) -> int:
  """Writes the delta of two workdirs; 2 where the input cannot work."""
  name = "python -m maskjax.train.checkpoints.delta"
  parser = argparse.ArgumentParser(prog=name, description=__doc__)
  for name in ("base", "tuned", "file"):
    parser.add_argument(name)
  given = parser.parse_args(argv)
  try:
    base, tuned = between(given.base, given.tuned)
    save(given.file, base, tuned)
  except BadInput as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  except Restart as error:
    print(f"stopped: {error}", file=sys.stderr)
    return 75
  whole = sum(leaf.nbytes for leaf in _flat(tuned).values())
  print(f"{given.file}: {os.path.getsize(given.file):,} bytes for {whole:,} of the network")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
