"""The mean and deviation that frozen networks were trained with, from the record of their run."""

import logging
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.base import FROZEN
from maskjax.task.normalised import NORMALISATION, known_of
from maskjax.train.mesh.gather import get
from maskjax.train.workdirs.workdir import read_record

log = logging.getLogger("maskjax")


def normalisation(
  source: pathlib.Path, ours: Iterable[str], found: Mapping[str, Any], record: Record
) -> dict[str, Any]:
  """What `source` has to say of how the inputs of frozen networks are normalised, by name.

  That of the network where it was frozen there too, or else that of the data there. A file of
  weights has no record: they are taken to be for examples as the run normalises them.

  Args:
    source: a run's workdir, or a file of weights.
    ours: the names of the run's variables.
    found: those that the source has, by name.
    record: of the run's data.

  Raises:
    BadInput: data there have other channels.
  """
  part = lambda name: name.split("/")[1]
  frozen = dict.fromkeys(part(name) for name in found if name.startswith(f"{FROZEN}/"))
  told = {part(name) for name in ours if name.startswith(f"{NORMALISATION}/")}
  at = lambda name: f"{NORMALISATION}/{name}"
  left = [name for name in frozen if not _said(found, at(name))]
  if not left:
    return {}
  if source.is_file():
    log.info("%s has no record: data.mean and data.std are taken to be those of its data", source)
    return {}
  theirs = read_record(source)
  made: dict[str, Any] = {}
  for name in left:
    if name in told:
      if len(theirs.mean) != len(record.mean):
        channels = f"{len(theirs.mean)} channels, the run {len(record.mean)}"
        raise BadInput(f"{source}: {name} was trained on data of {channels}")
      made |= {f"{at(name)}/{key}": value for key, value in known_of(theirs).items()}
    elif (theirs.mean, theirs.std) != (record.mean, record.std):
      log.warning(
        "%s was trained on data of another mean or deviation, and does not say which of its "
        "arguments are examples (bind.examples): it sees them as this run normalises them",
        name,
      )
  return made


def _said(found: Mapping[str, Any], place: str) -> bool:
  deviation = found.get(f"{place}/std")
  return deviation is not None and bool((get(deviation) > 0).all())
