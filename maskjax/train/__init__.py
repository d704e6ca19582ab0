"""Training: one loop for every task, its optimisers, checkpoints, metrics and evaluators."""

import sys
import types
from typing import Any

from maskjax.extras import needs


class _Callable(types.ModuleType):
  def __call__(self, *args: Any, **kwargs: Any) -> Any:
    """`maskjax.train.run.train`, whose name `mj.train` importing this package takes over."""
    with needs("train", "maskjax.train"):
      from maskjax.train.run import train

    return train(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
