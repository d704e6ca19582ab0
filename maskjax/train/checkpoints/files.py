"""The arrays of a step on disk, in orbax's sharded format: a database of each process' cells.

Below `state/` each process writes `ocdbt.process_INDEX`, which holds whole cells of arrays in
zarr's layout. Where all see these the first merges their indices into one that orbax reads; here
cells are read from the database of whoever wrote them. A workdir in a store has its arrays there,
not in the local copy: `remote.values` says where.
"""

import asyncio
import contextlib
import dataclasses
import logging
import os
import pathlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts
from etils import epath

from maskjax.train.checkpoints import leaves as lv
from maskjax.train.checkpoints.cuts import Box, Copies, Cut, index, whole
from maskjax.train.workdirs import direct, remote
from maskjax.train.workdirs.names import TEMPORARY

PART = "ocdbt.process_"
Pieces = dict[tuple[str, int], list[tuple[int, Box]]]
_MANIFEST = "manifest.ocdbt"

# Orbax logs through absl's logger, which others share: drop its records alone; errors are raised.
logging.getLogger("absl").addFilter(lambda r: f"{os.sep}orbax{os.sep}" not in r.pathname)


class DamagedError(Exception):
  """A step that cannot be trusted, and why."""


@contextlib.contextmanager
def _named_safely(path: pathlib.Path) -> Iterator[pathlib.Path]:
  r"""The same place by a name that libraries take as it is, through a link to its folder.

  Orbax looks for what it wrote by patterns, in which `[1]` stands for 1, and tensorstore takes `\`
  for `/`.
  """
  if not re.search(r"[\[\]*?\\]", str(path)):
    yield path
    return
  with tempfile.TemporaryDirectory(prefix="maskjax-") as folder:
    link = pathlib.Path(folder) / "checkpoints"
    link.symlink_to(path.parent.absolute(), target_is_directory=True)
    yield link / path.name


@dataclasses.dataclass(frozen=True)
class Cells:
  """What one process writes of an array: orbax takes it for a leaf.

  Attributes:
    cut: the whole array's.
    dtype: of its elements.
    copies: the cells that are written here, none of some arrays.
  """

  cut: Cut
  dtype: np.dtype
  copies: Copies


class _Handler(ocp.type_handlers.NumpyHandler):
  """Orbax's handler of numpy arrays, for those of which a process writes some cells.

  Args:
    base: of the database, see `_base`.
  """

  def __init__(self, base: Mapping[str, Any]):
    super().__init__()
    self._base, self._context = base, ts.Context(direct.CONTEXT)

  async def serialize(
    self, values: Sequence[Any], infos: Sequence[Any], args: Sequence[Any] | None = None
  ) -> Sequence[Any]:
    """Writes the cells into the database of this process; nothing is left to wait for."""
    del args
    pairs = zip(values, infos, strict=True)
    await asyncio.gather(*(self._write(cells, info.name) for cells, info in pairs))
    return []

  async def _write(self, cells: Cells, name: str) -> None:
    if not cells.copies:
      return
    spec = {
      **_spec(self._base, name),
      "metadata": {"compressor": {"id": "zstd", "level": 1}},
      "store_data_equal_to_fill_value": True,
    }
    store = await ts.open(
      spec,
      create=True,
      open=True,
      context=self._context,
      dtype=cells.dtype.name,
      shape=cells.cut.shape,
      chunk_layout=ts.ChunkLayout(chunk_shape=cells.cut.cell),
    )
    await asyncio.gather(*(store[index(box)].write(array) for box, array in cells.copies))


@contextlib.contextmanager
def _base(place: direct.Place) -> Iterator[dict[str, Any]]:
  """Tensorstore's words for a folder, or for what is in a store."""
  if isinstance(place, dict):
    yield place
    return
  with _named_safely(place) as path:
    yield {"driver": "file", "path": f"{path}/"}


def _database(base: Mapping[str, Any]) -> dict[str, Any]:
  return {"driver": "ocdbt", "base": base}


def _spec(base: Mapping[str, Any], name: str) -> dict[str, Any]:
  return {"driver": "zarr", "kvstore": {**_database(base), "path": f"{name}/"}}


def part(process: int | None = None) -> str:
  """The name of a process' database, of this one unless another is given."""
  return f"{PART}{jax.process_index() if process is None else process}"


def _handler(base: Mapping[str, Any]) -> ocp.PyTreeCheckpointHandler:
  # The layout that `read` expects, whatever orbax's defaults become.
  registry = ocp.type_handlers.create_type_handler_registry((Cells, _Handler(base)))
  return ocp.PyTreeCheckpointHandler(
    use_ocdbt=True,
    use_zarr3=False,
    type_handler_registry=registry,
    multiprocessing_options=ocp.options.MultiprocessingOptions(primary_host=0),
  )


def put(step: pathlib.Path, cells: Mapping[str, Cells]) -> None:
  """Writes what this process has of a step's arrays; the first says in a file what there are."""
  state = step / "state"
  state.mkdir(parents=True, exist_ok=True)
  written = remote.values(state / part())
  # Orbax refuses empty arrays and empty trees; the record tells all about them.
  if full := {name: one for name, one in cells.items() if 0 not in one.cut.shape}:
    with _named_safely(state) as place, _base(written) as base, remote.answered(step, "written"):
      _handler(base).save(epath.Path(place), args=ocp.args.PyTreeSave(full))
  if isinstance(written, pathlib.Path) and written.exists():
    sync((*written.rglob("*"), written))


def merge(step: pathlib.Path, owners: Iterable[int]) -> None:
  """Makes one index of the databases of a step, for whoever reads it with orbax.

  Args:
    step: the folder.
    owners: of cells.
  """
  # Cells are not copied but referred to: all have to be of one context, and below the index.
  context, transaction = ts.Context(direct.CONTEXT), ts.Transaction(atomic=True)
  with remote.answered(step, "written"), _base(remote.values(step / "state")) as base:
    bases = [base, *(direct.below(base, part(owner)) for owner in sorted(owners))]
    opening = [ts.KvStore.open(_database(base), context=context) for base in bases]
    joined, *parts = (store.result() for store in opening)
    merged = joined.with_transaction(transaction)
    for copying in [one.experimental_copy_range_to(merged) for one in parts]:
      copying.result()
    transaction.commit_async().result()


def sync(paths: Iterable[pathlib.Path]) -> None:
  """Has files and folders written through: orbax leaves some of its own to the page cache."""
  for path in paths:
    descriptor = os.open(path, os.O_RDONLY)
    try:
      os.fsync(descriptor)
    finally:
      os.close(descriptor)


def pieces(
  specs: Mapping[str, lv.Spec], cuts: Mapping[str, Cut], wanted: Mapping[str, Sequence[Box]]
) -> Pieces:
  """What boxes of arrays are read from: owners of cells, -1 for one database that holds all."""
  return {
    (name, i): list(cuts[name].pieces(box)) if name in cuts else [(-1, box)]
    for name, boxes in wanted.items()
    for i, box in enumerate(boxes)
    if 0 not in specs[name].shape
  }


def read(
  step: pathlib.Path,
  names: Mapping[str, str],
  specs: Mapping[str, lv.Spec],
  pieces: Pieces,
  wanted: Mapping[str, Sequence[Box]],
) -> dict[str, list[np.ndarray]]:
  """Reads boxes of arrays by tensorstore: orbax strews tracebacks about damaged ones on stderr.

  Args:
    step: the folder.
    names: by which each array is stored.
    specs: what each array is.
    pieces: what each box is read from.
    wanted: the boxes to read, by name.

  Returns:
    The boxes' elements, in the order asked for.

  Raises:
    DamagedError: an array is of another type or shape.
  """
  state, context = step / "state", ts.Context(direct.CONTEXT)
  used = {(name, owner) for (name, _), found in pieces.items() for owner, _ in found}
  with contextlib.ExitStack() as stack:
    stack.enter_context(remote.answered(step, "read"))
    enter = lambda path: stack.enter_context(_base(remote.values(path)))
    bases = {o: enter(_one(state) if o < 0 else state / part(o)) for o in {o for _, o in used}}
    opening = {
      (name, owner): ts.open(_spec(bases[owner], names[name]), read=True, context=context)
      for name, owner in used
    }
    stores = {key: store.result() for key, store in opening.items()}
    # Shapes before values: a damaged one could ask for any amount of memory.
    for (name, _), store in stores.items():
      if lv.Spec(store.dtype.name, tuple(store.shape)) != specs[name]:
        raise DamagedError(f"the dtype or shape of {name} is not the one that was saved")
    reading = {
      key: [(box, stores[key[0], owner][index(box)].read()) for owner, box in found]
      for key, found in pieces.items()
    }
    # What a box is put together from is let go before the next.
    joined = lambda name, i, box: _joined(box, reading.pop((name, i), []), specs[name])
    return {
      name: [joined(name, i, box) for i, box in enumerate(boxes)] for name, boxes in wanted.items()
    }


def _joined(box: Box, parts: Sequence[tuple[Box, Any]], spec: lv.Spec) -> np.ndarray:
  if len(parts) == 1:
    return np.asarray(parts[0][1].result())
  made = np.empty([b - a for a, b in box], spec.dtype)
  for inside, part in parts:
    made[index(inside, box)] = part.result()
  return made


def _one(state: pathlib.Path) -> pathlib.Path:
  r"""The database of a state that one process wrote whole, as versions of before did.

  Those of versions that knew no `_named_safely` orbax did not put together. Under a name with `[`
  the part was not found, under one with `\` it was written elsewhere: to a folder for each part of
  the name, which was never renamed.
  """
  if (state / _MANIFEST).exists():
    return state
  places = [state]
  if "\\" in str(state):
    step, last = (f"{folder.name}{TEMPORARY}" for folder in (state.parent, state))
    above = pathlib.Path(str(state.parent.parent.absolute()).replace("\\", "/"))
    places.append(above / step / last)
  parts = [place / part(0) for place in places]
  return next((path for path in parts if (path / _MANIFEST).exists()), state)


def all_of(specs: Mapping[str, lv.Spec]) -> dict[str, list[Box]]:
  """Every array in one box."""
  return {name: [whole(spec.shape)] for name, spec in specs.items()}
