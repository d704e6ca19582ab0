"""Digests by which a run knows its data again."""

import hashlib
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from maskjax.data.images import evenly
from maskjax.data.source import Source

LABELS = 10_000
EXAMPLES = 1_000


def labels(splits: Mapping[str, Source]) -> dict[str, str]:
  """A digest of the labels of each split that tells them, of 10,000 evenly spaced ones at most."""
  found = {}
  for split, source in splits.items():
    if of := getattr(source, "label_of", None):
      # Some sources read an example to tell its label.
      chosen = [of(int(i)) for i in evenly(len(source), LABELS)]
      numbers = np.array([-1 if label is None else label for label in chosen], "<i8")
      found[split] = digest([numbers.tobytes()])
  return found


def examples(splits: Mapping[str, Source]) -> dict[str, str]:
  """A digest of what the examples of each split hold, of sources that tell it.

  Text, tables, series and graphs have one of all they hold, their `digest`. Of images, clips and
  recordings `content_of` is asked for 1,000 evenly spaced ones at most: what changed in others is
  not seen. The captions of these, where they are read, count too.
  """
  found = {}
  for split, source in splits.items():
    of: Callable[[int], bytes] | None = getattr(source, "content_of", None)
    if whole := getattr(source, "digest", ""):
      found[split] = whole
    elif of:
      chosen = [int(i) for i in evenly(len(source), EXAMPLES)]
      held = [of(i) for i in chosen]
      if told := getattr(source, "captions", None):
        held += [repr(tuple(told[i])).encode() for i in chosen]
      found |= {split: digest(held)} if any(held) else {}
  return found


def digest(parts: Iterable[bytes]) -> str:
  """The first 16 hexadecimal digits of the SHA-256 of some bytes, one part after the other.

  >>> digest([b"ab", b"c"]) == digest([b"abc"]) != digest([b"cab"])
  True
  """
  found = hashlib.sha256()
  for part in parts:
    found.update(part)
  return found.hexdigest()[:16]
