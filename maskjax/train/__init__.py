"""Training: one loop for every task, its optimisers, checkpoints, metrics and evaluators."""

import sys
import types
from typing import Any


class _Callable(types.ModuleType):
  def __call__(self, *args: Any, **kwargs: Any) -> str:
    """As `maskjax.train.run.train`: importing this package hides that function's name `mj.train`."""
    from maskjax.train.run import train

    return train(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
