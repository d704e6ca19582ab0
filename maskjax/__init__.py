"""maskjax: masking systems as one functional grammar in JAX: score, select, hide, recover."""

import importlib
from typing import Any

from maskjax import bind, errors, hide, masks, over, recover, reduce, schedule, score, select, units
from maskjax.extras import needs as _needs
from maskjax.keys import keys, stream

__version__ = "0.1.0"

__all__ = [
  "bind",
  "errors",
  "hide",
  "keys",
  "load",
  "masks",
  "over",
  "recover",
  "reduce",
  "schedule",
  "score",
  "select",
  "stream",
  "train",
  "units",
]

# The grammar above needs only jax and jaxtyping; what trains needs the extra "train".
_LATER = {
  "train": ("maskjax.train.run", "train"),
  "load": ("maskjax.train.checkpoints.load", "load"),
}


def __getattr__(name: str) -> Any:
  """Imports `train` and `load` when they are asked for.

  Raises:
    AttributeError: maskjax has no such name.
    BadInput: the extra "train" is not installed.
  """
  if name not in _LATER:
    raise AttributeError(f"module 'maskjax' has no attribute {name!r}")
  module, attribute = _LATER[name]
  with _needs("train", f"maskjax.{name}"):
    return getattr(importlib.import_module(module), attribute)
