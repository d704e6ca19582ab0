"""An object store in memory, fsspec's, and the ways in which one fails."""

URL = "memory://bucket/runs/one"


class LostError(BaseException):
  """The machine is gone."""


class HttpError(Exception):
  """As those of gcsfs: `code`."""

  def __init__(self, code, message):
    super().__init__(message)
    self.code = code


def failing(errors, then=lambda: "answer"):
  """A call that raises one error after the other, then does something."""
  left = list(errors)

  def call(*args, **kwargs):
    if left:
      raise left.pop(0)
    return then(*args, **kwargs)

  return call
