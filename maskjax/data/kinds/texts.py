"""Text: windows of token ids, or whole texts with a label each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maskjax.data.batch import Batch
from maskjax.data.kinds.base import Kind, Scale, Shapes, array, label, labels, words
from maskjax.data.tokens import encode
from maskjax.errors import BadInput
from maskjax.record import Record


def _shapes(scale: Scale) -> Shapes:
  """Ids and which are there; the unit, the document and the turn of each where a scale says so."""
  (n,) = scale["shape"]
  ids, flags = array(np.int32, n), array(np.bool_, n)
  made = {"tokens": ids, "valid": flags}
  made |= {"segments": ids} if scale.get("documents") else {}
  made |= {"unit": ids} if scale.get("units") else {}
  made |= {"asked": flags, "blocks": ids} if scale.get("turns") else {}
  return made | label(scale)


def _tiny(scale: Scale, size: int, rng: np.random.Generator) -> Batch:
  """Random ids; the last text ends early."""
  (n,) = scale["shape"]
  ids = rng.integers(0, scale["vocabulary"], (size, n), dtype=np.int32)
  length = np.where(np.arange(size) < size - 1, n, n - n // 4)[:, None]
  valid = np.arange(n) < length
  made = {"tokens": np.where(valid, ids, 0), "valid": valid}
  begins = rng.random((size, n)) < 0.5
  count = np.cumsum(begins, axis=1, dtype=np.int32) - begins[:, :1]
  if scale.get("documents"):
    made["segments"] = count
  if scale.get("units"):
    made["unit"] = np.where(valid, count, np.int32(-1))
  if scale.get("turns"):
    # A quarter of each text answers the turns before it, which half of it precedes.
    place = np.broadcast_to(np.arange(n), (size, n))
    made["asked"] = valid & (place >= length - n // 4)
    made["blocks"] = np.where(made["asked"], 2, place >= n // 2).astype(np.int32)
  return made | labels(scale, size, rng)


def _facts(scale: Scale) -> Mapping[str, Any]:
  return words(scale["vocabulary"], "characters")


def _preprocess(texts: Sequence[str], record: Record) -> Batch:
  """Texts are encoded and padded to the windows of the run.

  Raises:
    BadInput: a text longer than these, or with a character that the run does not know.
  """
  rows, length = [encode(text, record) for text in texts], record.shape[0]
  if (longest := max(map(len, rows), default=0)) > length:
    raise BadInput(f"a text of {longest} tokens does not fit the run's windows of {length}")
  valid = np.arange(length) < np.array([[len(row)] for row in rows])
  tokens = np.stack([np.pad(row, (0, length - len(row))) for row in rows])
  return {"tokens": tokens.astype(np.int32), "valid": valid}


text = Kind(
  axes=("length",),
  needs=("vocabulary",),
  shapes=_shapes,
  tiny=_tiny,
  facts=_facts,
  preprocess=_preprocess,
  masks="maskjax.view.text:masks_text",
)
