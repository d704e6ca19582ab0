"""Which examples have labels, asked of sources that know it without reading their examples."""

import hashlib
import logging
from collections.abc import Mapping

import numpy as np

from maskjax.data.images import evenly
from maskjax.data.source import Part, Source
from maskjax.errors import BadInput
from maskjax.record import Record

_log = logging.getLogger("maskjax")
_SAMPLE = 10_000


def check(splits: Mapping[str, Source]) -> None:
  """Makes sure that all examples of a split have labels, or none of them.

  Only arrays can have some: of folders each split is checked by its names, and what a source of
  examples gives is checked as they come together in a batch.

  Raises:
    BadInput: some have; the key that leaves the others out is named.
  """
  for split, source in splits.items():
    found = getattr(source, "labels", None)
    if isinstance(found, np.ndarray) and (found < 0).any() and (found >= 0).any():
      without = f"{(found < 0).sum()} of {len(found)} examples of {split!r} have no label (-1)"
      raise BadInput(f"{without}: data.classes=(...) keeps those of the classes that it names")


def digests(splits: Mapping[str, Source]) -> dict[str, str]:
  """A digest of the labels of each split that tells them, of 10,000 evenly spaced ones at most."""
  found = {}
  for split, source in splits.items():
    if of := getattr(source, "label_of", None):
      # Some sources read an example to tell its label.
      chosen = [of(int(i)) for i in evenly(len(source), _SAMPLE)]
      numbers = np.array([-1 if label is None else label for label in chosen], "<i8")
      found[split] = hashlib.sha256(numbers.tobytes()).hexdigest()[:16]
  return found


def tell_left_out(part: Part, record: Record) -> None:
  """Warns where a limited training split lacks some of the classes."""
  of = getattr(part.whole, "label_of", None)
  if of is None or not record.class_names:
    return
  left = {of(int(i)) for i in part.indices} - {None}
  if left and (lost := [name for i, name in enumerate(record.class_names) if i not in left]):
    told = "data.limit leaves %d of %d classes in the training split, without %s, for example"
    _log.warning(told, len(left), len(record.class_names), lost[0])
