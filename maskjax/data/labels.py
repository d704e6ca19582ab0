"""Which examples have labels, asked of sources that know it without reading their examples."""

import logging
from collections.abc import Mapping

import numpy as np

from maskjax.data.classes import reads_labels
from maskjax.data.images import evenly
from maskjax.data.source import Part, Source
from maskjax.errors import BadInput
from maskjax.record import Record

_READ = 10_000  # labels that are read of a split, where they are not known without
_log = logging.getLogger("maskjax")


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


def unseen(splits: Mapping[str, Source], train: str, record: Record) -> dict[str, list[str]]:
  """The classes of each split that the training split has none of.

  Labels are asked for until all classes are found, but at most `_READ` where each has to be read;
  where the training split then still lacks some, nothing is known.
  """

  def held(source: Source) -> tuple[set[int], bool]:
    """Classes that there are, and whether there are no others."""
    of = getattr(source, "label_of", None)
    indices = evenly(len(source), _READ if reads_labels(source) else None)
    found: set[int] = set()
    if of is None:
      return found, False
    for i in indices:
      if (label := of(int(i))) is not None:
        found.add(label)
        if len(found) == record.classes:
          return found, True
    return found, len(indices) == len(source)

  if not record.class_names:
    return {}
  known, all_known = held(splits[train])
  if not known or not all_known or len(known) == record.classes:
    return {}
  found = {split: sorted(held(source)[0] - known) for split, source in splits.items()}
  return {split: [record.class_names[i] for i in more] for split, more in found.items() if more}


def tell_left_out(part: Part, record: Record) -> None:
  """Warns where a limited training split lacks some of the classes."""
  of = getattr(part.whole, "label_of", None)
  if of is None or not record.class_names:
    return
  left = {of(int(i)) for i in part.indices} - {None}
  if left and (lost := [name for i, name in enumerate(record.class_names) if i not in left]):
    told = "data.limit leaves %d of %d classes in the training split, without %s, for example"
    _log.warning(told, len(left), len(record.class_names), lost[0])
