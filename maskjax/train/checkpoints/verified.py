"""One step on disk, sealed by digests: what is read is what was written, or it is an error.

A step holds `state`, its arrays by the slash-joined path of their leaf, see `files`, and `digest`,
a JSON record of every leaf's dtype, shape, cells and digest, sealed by its own.
"""

import concurrent.futures
import json
import logging
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from maskjax.errors import BadInput, Restart
from maskjax.train.checkpoints import files, sums
from maskjax.train.checkpoints import leaves as lv
from maskjax.train.checkpoints.cuts import Box, Copies, Cut, index
from maskjax.train.checkpoints.files import TEMPORARY, DamagedError
from maskjax.train.checkpoints.renamed import ADDED, current
from maskjax.train.pod.threads import cores
from maskjax.train.workdirs import remote

log = logging.getLogger("maskjax")

Record = dict[str, Any]
Sums = dict[str, int]


def temporary(path: pathlib.Path) -> pathlib.Path:
  """Where a step is written before it is whole."""
  return path.with_suffix(TEMPORARY)


def digests(parts: Mapping[str, Copies], record: Record) -> Sums:
  """What parts of each array add to its digest, on all cores; see `sums.digest`."""
  shapes = {name: field["shape"] for name, field in record["leaves"].items()}
  start = lambda box: [begin for begin, _ in box]
  flat = [(name, box, array) for name, copies in parts.items() for box, array in copies]
  one = lambda part: sums.digest(part[2], start(part[1]), shapes[part[0]])
  with concurrent.futures.ThreadPoolExecutor(cores()) as threads:
    found = list(threads.map(one, flat))
  total = dict.fromkeys(parts, 0)
  for (name, _, _), digest in zip(flat, found, strict=True):
    total[name] = (total[name] + digest) & sums.MASK
  return total


def record(
  kinds: Mapping[str, lv.Kind],
  cells: Mapping[str, files.Cells],
  totals: Sums,
  metrics: Mapping[str, float],
) -> Record:
  """What is kept of a step beside its arrays."""
  fields = {
    name: {
      "is": kinds[name].spec,
      "impl": kinds[name].impl,
      "dtype": one.dtype.name,
      "shape": list(one.cut.shape),
      "cell": list(one.cut.cell),
      "owners": list(one.cut.owners),
      "sum": f"{totals[name]:016x}",
    }
    for name, one in cells.items()
  }
  return {"leaves": fields, "metrics": dict(metrics)}


def write(path: pathlib.Path, record: Record) -> None:
  """Makes a step whole whose parts all processes have written: sealed, then under its name.

  Args:
    path: of the step; its parts lie at `temporary(path)`, or here in a copy of a store.
    record: what it holds.
  """
  place = path if path.exists() else temporary(path)
  owners = {o for c in cuts(record).values() if 0 not in c.shape for o in c.owners}
  if owners and (remote.seen(path) or owners == {0}):
    files.merge(place, owners)
  (place / "digest").mkdir(exist_ok=True)
  # Hidden while it is half-written: it is what makes a step count.
  fresh = place / "digest" / ".metadata"
  fresh.write_text(json.dumps({**record, "seal": lv.seal(record)}), encoding="utf-8")
  fresh.replace(place / "digest" / "metadata")
  mine = [p for p in place.rglob("*") if files.PART not in str(p.relative_to(place))]
  place.replace(path)
  # Older steps go once this one is safe from a power cut.
  files.sync((*(path / p.relative_to(place) for p in mine), path, path.parent))


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


def specs(record: Record) -> dict[str, lv.Spec]:
  """What each array of a step is."""
  return {n: lv.Spec(f["dtype"], tuple(f["shape"])) for n, f in record["leaves"].items()}


def cuts(record: Record) -> dict[str, Cut]:
  """Who wrote which cells of each array; none of a step of versions where one process wrote all."""
  return {
    name: Cut(tuple(field["shape"]), tuple(field["cell"]), tuple(field["owners"]))
    for name, field in record["leaves"].items()
    if "cell" in field
  }


def parts(
  path: pathlib.Path, record: Record, wanted: Mapping[str, Sequence[Box]]
) -> dict[str, Copies]:
  """Reads boxes of a step's arrays.

  Arrays of versions that had other digests are read whole, and checked here.

  Raises:
    DamagedError: such an array, or the type or shape of any, is not what was saved.
  """
  known, written = specs(record), cuts(record)
  names = {name: field.get("stored", name) for name, field in record["leaves"].items()}
  old = [name for name in wanted if name not in written]
  asked = {**wanted, **files.all_of({name: known[name] for name in old})}
  pieces = files.pieces(known, written, asked)
  owners = {owner for found in pieces.values() for owner, _ in found}
  remote.fetch(path, ["" if owner < 0 else f"state/{files.part(owner)}/" for owner in owners])
  arrays = files.read(path, names, known, pieces, asked)
  whole = {name: arrays[name][0] for name in old}
  found = lv.digests(whole)
  if bad := [name for name in old if found[name] != record["leaves"][name]["digest"]]:
    raise DamagedError(_differ(bad))
  for name, array in whole.items():
    # Of arrays without axes too an array, not a scalar.
    arrays[name] = [np.asarray(array[index(box)]) for box in wanted[name]]
  return {name: list(zip(boxes, arrays[name], strict=True)) for name, boxes in wanted.items()}


def check_part(path: pathlib.Path, record: Record, ours: Mapping[str, Copies], sums: Sums) -> None:
  """Reads back, array by array, what this process has just written.

  Raises:
    DamagedError: it cannot be read, or is not what was written.
  """
  try:
    for name, copies in ours.items():
      found = parts(path, record, {name: [box for box, _ in copies]})
      if digests(found, record)[name] != sums[name]:
        raise DamagedError(_differ([name]))
  except (DamagedError, BadInput, Restart):
    raise
  except Exception as error:
    first = str(error).partition("\n")[0]
    raise DamagedError(f"{type(error).__name__}: {first[:200]}") from error


def differing(record: Record, totals: Sums, times: Mapping[str, int]) -> list[str]:
  """What to say where arrays, each read so many times by all processes, are not what was saved."""
  fields = record["leaves"]
  bad = [
    name
    for name, total in totals.items()
    if "sum" in fields[name]
    and total & sums.MASK != int(fields[name]["sum"], 16) * times[name] & sums.MASK
  ]
  return [_differ(bad)] if bad else []


def _differ(names: Sequence[str]) -> str:
  return f"the values of {', '.join(names[:3])} are not those that were saved"


def whole(
  path: pathlib.Path, record: Record, names: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
  """Reads and verifies arrays of a step whole, by this process alone."""
  known = specs(record)
  wanted = files.all_of({n: known[n] for n in (known if names is None else names)})
  found = parts(path, record, wanted)
  totals = digests(found, record)
  if bad := differing(record, totals, dict.fromkeys(totals, 1)):
    raise DamagedError(bad[0])
  return {name: copies[0][1] for name, copies in found.items()}


def check(path: pathlib.Path) -> None:
  """Reads a step array by array, so that it is never held whole.

  Raises:
    DamagedError: it cannot be read, or is not what was written.
  """
  remote.fetch(path, ["digest/"])
  record = read_record(path)
  for name in record["leaves"]:
    whole(path, record, [name])


def read(
  path: pathlib.Path, only: Callable[[Collection[str]], Collection[str]] = list
) -> tuple[lv.Arrays, Record]:
  """Reads and verifies a step, or those of its arrays that `only` leaves of their names.

  Whatever is wrong with it raises, as whatever type of error.
  """
  remote.fetch(path, ["digest/"])
  record = of_now(path, read_record(path))
  return whole(path, record, list(only(record["leaves"]))), record


def of_now(path: pathlib.Path, record: Record, *, told: bool = True) -> Record:
  """A record by the names that arrays have now; `stored` says by which they are stored."""
  names, filled = current({name: name for name in record["leaves"]})
  if filled and told:
    log.warning(
      "%s holds EMA parameters without their running statistics (%d arrays): "
      "those of the network itself are taken",
      path,
      len(filled),
    )
  fields = {name: {**record["leaves"][own], "stored": own} for name, own in names.items()}
  return {**record, "leaves": fields}


def added(wanted: Mapping[str, Any], record: Record) -> dict[str, np.ndarray]:
  """What states of before did not have, as zeros: nothing is known of it."""
  found = record["leaves"]
  new = {n: leaf for n, leaf in wanted.items() if n.startswith(ADDED) and n not in found}
  return {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in new.items()}
