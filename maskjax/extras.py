"""Extras of the wheel: the grammar needs none of them, and what needs one says which."""

import contextlib
from collections.abc import Iterator

from maskjax.errors import BadInput


@contextlib.contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
  """Says how to install what imports inside this block lack.

  Args:
    extra: the extra that brings the packages imported there.
    what: the part of maskjax that needs them.

  Raises:
    BadInput: one of them is not installed.

  >>> with needs("train", "mj.train"):
  ...   import no_such_package
  Traceback (most recent call last):
  maskjax.errors.BadInput: mj.train needs no_such_package: pip install 'maskjax[train]'
  """
  try:
    yield
  except ModuleNotFoundError as error:
    package = (error.name or "maskjax").partition(".")[0]
    if package == "maskjax":  # a bug of ours
      raise
    raise BadInput(f"{what} needs {package}: pip install 'maskjax[{extra}]'") from error
