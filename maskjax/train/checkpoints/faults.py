"""What goes wrong with checkpoints, in the words that a user is told."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from maskjax.train.checkpoints.exchange import KINDS, ElsewhereError
from maskjax.train.checkpoints.files import DamagedError


def system_error(error: BaseException) -> str:
  """What the operating system said, by an OSError or in tensorstore's text; empty for nothing."""
  if isinstance(error, OSError) and error.errno:
    return os.strerror(error.errno).lower()
  found = re.search(r"os_error_code='(\d+)'", str(error))
  return os.strerror(int(found[1])).lower() if found else ""


def reason(error: BaseException) -> str:
  """Why a step is bad or was not written, in one line."""
  if isinstance(error, DamagedError | ElsewhereError):
    return str(error)
  first = str(error).partition("\n")[0]
  return f"{type(error).__name__}: {first[:200]}"


def unwritten(error: BaseException) -> bool:
  """Whether a save failed by what the system or the disk did, not by a fault of ours."""
  return bool(system_error(error)) or isinstance(error, DamagedError | ElsewhereError)


def said(error: BaseException) -> dict[str, str]:
  """An error as one process tells the others of it."""
  kind = type(error).__name__
  told = system_error(error) or reason(error)
  return {"error": str(error) if kind in KINDS else told, "kind": kind}


def passed_on(values: Sequence[Mapping[str, Any]]) -> None:
  """Raises the `BadInput` or `Restart` that any of the processes met."""
  for value in values:
    if value.get("kind") in KINDS:
      raise KINDS[value["kind"]](value["error"])


def at(index: int, value: Mapping[str, Any]) -> str:
  """What went wrong, and where it did not at the first process."""
  return value["error"] if index == 0 else f"process {index}: {value['error']}"


def refuse(values: Sequence[Mapping[str, Any]]) -> None:
  """Raises what went wrong at any of the processes."""
  for index, value in enumerate(values):
    if "error" in value:
      raise ElsewhereError(at(index, value))
