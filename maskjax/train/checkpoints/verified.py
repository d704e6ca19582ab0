"""One step on disk, sealed by digests: what is read is what was written, or it is an error.

A step is an orbax composite: `state`, the arrays by the slash-joined path of their leaf, and
`digest`, a JSON record of every leaf's dtype, shape and digest, sealed by its own.
"""

import contextlib
import json
import logging
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts

from maskjax.train.checkpoints import leaves as lv
from maskjax.train.checkpoints.renamed import ADDED, current
from maskjax.train.workdirs import remote

log = logging.getLogger("maskjax")

Record = dict[str, Any]

TEMPORARY = ".orbax-checkpoint-tmp"
_MANIFEST = "manifest.ocdbt"

# The first process writes, and waits for no other.
ALONE = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})

# Orbax logs through absl's logger, which others share: drop its records alone; errors are raised.
logging.getLogger("absl").addFilter(lambda r: f"{os.sep}orbax{os.sep}" not in r.pathname)


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


class DamagedError(Exception):
  """A step that cannot be trusted, and why."""


def _record(
  arrays: lv.Arrays, kinds: Mapping[str, lv.Kind], metrics: Mapping[str, float]
) -> Record:
  digests = lv.digests(arrays)
  fields = {
    name: {
      "is": kinds[name].spec,
      "impl": kinds[name].impl,
      "dtype": array.dtype.name,
      "shape": list(array.shape),
      "digest": digests[name],
    }
    for name, array in arrays.items()
  }
  return {"leaves": fields, "metrics": dict(metrics)}


def write(
  path: pathlib.Path,
  arrays: lv.Arrays,
  kinds: Mapping[str, lv.Kind],
  metrics: Mapping[str, float],
) -> None:
  """Writes a step at `path`: under another name first, renamed once it is whole."""
  record = _record(arrays, kinds, metrics)
  items: dict[str, Any] = {"digest": ocp.args.JsonSave({**record, "seal": lv.seal(record)})}
  # Orbax refuses empty arrays and empty trees; the record tells all about them.
  if full := {name: array for name, array in arrays.items() if array.size}:
    items["state"] = ocp.args.PyTreeSave(full)
  # The layout that `read` expects, whatever orbax's defaults become.
  alone = {"multiprocessing_options": ALONE}
  state = ocp.PyTreeCheckpointHandler(use_ocdbt=True, use_zarr3=False, **alone)
  handler = ocp.CompositeCheckpointHandler(
    state=state,
    digest=ocp.JsonCheckpointHandler(**alone),
    composite_options=ocp.CompositeOptions(**alone),
  )
  path.parent.mkdir(parents=True, exist_ok=True)
  with _named_safely(path) as place, ocp.Checkpointer(handler, **alone) as checkpointer:
    checkpointer.save(place, args=ocp.args.Composite(**items))
  # Orbax leaves its JSON to the page cache: older steps go once this one is safe from a power cut.
  for entry in (*path.rglob("*"), path, path.parent):
    descriptor = os.open(entry, os.O_RDONLY)
    try:
      os.fsync(descriptor)
    finally:
      os.close(descriptor)


def read_record(path: pathlib.Path) -> Record:
  """Reads the record of a step, and nothing else; raises whatever is wrong with it."""
  text = (path / "digest" / "metadata").read_text(encoding="utf-8", errors="replace")
  try:
    record = json.loads(text)
    sealed = record.pop("seal") == lv.seal(record)
  except (ValueError, KeyError, AttributeError, TypeError):
    sealed = False
  if not sealed:
    raise DamagedError("its record of digests is damaged")
  return record


def _read_state(path: pathlib.Path, expected: Mapping[str, lv.Spec]) -> lv.Arrays:
  """Reads arrays by tensorstore: orbax's reader strews tracebacks about damaged ones on stderr."""
  part = _part(path)
  with _named_safely(path if part is None else part.parent) as place:
    return _read_arrays(place if part is None else place / part.name, expected)


def _part(path: pathlib.Path) -> pathlib.Path | None:
  r"""Where arrays lie that orbax did not put together, in versions that knew no `_named_safely`.

  Under a name with `[` the part was not found, under one with `\` it was written elsewhere: to a
  folder for each part of the name, which was never renamed.
  """
  if (path / _MANIFEST).exists():
    return None
  places = [path]
  if "\\" in str(path):
    step, state = (f"{part.name}{TEMPORARY}" for part in (path.parent, path))
    above = pathlib.Path(str(path.parent.parent.absolute()).replace("\\", "/"))
    places.append(above / step / state)
  parts = [place / "ocdbt.process_0" for place in places]
  return next((part for part in parts if (part / _MANIFEST).exists()), None)


def _read_arrays(path: pathlib.Path, expected: Mapping[str, lv.Spec]) -> lv.Arrays:
  context = ts.Context()
  base = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{path}/"}}
  where = {name: {"driver": "zarr", "kvstore": {**base, "path": f"{name}/"}} for name in expected}
  opening = {name: ts.open(at, read=True, context=context) for name, at in where.items()}
  stores = {name: store.result() for name, store in opening.items()}
  # Shapes before values: a damaged one could ask for any amount of memory.
  for name, store in stores.items():
    if lv.Spec(store.dtype.name, tuple(store.shape)) != expected[name]:
      raise DamagedError(f"the dtype or shape of {name} is not the one that was saved")
  reading = {name: store.read() for name, store in stores.items()}
  return {name: np.asarray(array.result()) for name, array in reading.items()}


def check(path: pathlib.Path) -> None:
  """Reads a step that was just written, array by array, so that no second copy of all is held.

  Raises:
    DamagedError: it cannot be read, or is not what was written.
  """
  try:
    for name, field in read_record(path)["leaves"].items():
      spec = lv.Spec(field["dtype"], tuple(field["shape"]))
      found = {} if 0 in spec.shape else _read_state(path / "state", {name: spec})
      if found and lv.digests(found)[name] != field["digest"]:
        raise DamagedError(f"the values of {name} are not those that were saved")
  except DamagedError:
    raise
  except Exception as error:
    first = str(error).partition("\n")[0]
    raise DamagedError(f"{type(error).__name__}: {first[:200]}") from error


def read(path: pathlib.Path) -> tuple[lv.Arrays, Record]:
  """Reads and verifies a step; whatever is wrong with it raises, as whatever type of error."""
  remote.fetch(path)
  record = read_record(path)
  specs = {n: lv.Spec(f["dtype"], tuple(f["shape"])) for n, f in record["leaves"].items()}
  arrays = {n: np.zeros(s.shape, s.dtype) for n, s in specs.items() if 0 in s.shape}
  if full := {n: s for n, s in specs.items() if 0 not in s.shape}:
    arrays |= _read_state(path / "state", full)
  digests = lv.digests(arrays)
  if bad := [name for name, field in record["leaves"].items() if digests[name] != field["digest"]]:
    raise DamagedError(f"the values of {', '.join(bad[:3])} are not those that were saved")
  leaves, filled = current(record["leaves"])
  if filled:
    log.warning(
      "%s holds EMA parameters without their running statistics (%d arrays): "
      "those of the network itself are taken",
      path,
      len(filled),
    )
  return current(arrays)[0], {**record, "leaves": leaves}


def added(
  found: tuple[int, lv.Arrays, Record], wanted: Mapping[str, Any]
) -> tuple[int, lv.Arrays, Record]:
  """A checkpoint with what states did not have before, zeros: nothing is known of it."""
  step, arrays, record = found
  new = {n: leaf for n, leaf in wanted.items() if n.startswith(ADDED) and n not in arrays}
  zeros = {n: np.zeros(leaf.shape, leaf.dtype) for n, leaf in new.items()}
  fields = {n: {"is": str(lv.spec(n, leaf)), "impl": ""} for n, leaf in zeros.items()}
  return step, {**arrays, **zeros}, {**record, "leaves": {**record["leaves"], **fields}}
