"""Which assignments of config files change nothing: those of what a field was already."""

import contextlib
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict, FieldReference


def plain(value: Any) -> Any:
  """A value to compare configs by: sections as dicts, references as what they hold."""
  if isinstance(value, FieldReference):
    value = value.get()
  if isinstance(value, ConfigDict):
    value = {key: value[key] for key in value}
  if isinstance(value, dict):
    return {key: plain(part) for key, part in value.items()}
  if isinstance(value, tuple | list):
    return type(value)(map(plain, value))
  return value


def restates(old: Any, new: Any) -> bool:
  """Whether `new` says again what `old` was.

  A section is said again if it is the same; one that is written out, also if it keeps all fields
  and the function of the old one, and some of their values.
  """
  if isinstance(new, dict) and isinstance(old, ConfigDict) and len(old):
    same = any(key in new and restates(old[key], new[key]) for key in old)
    return set(old) <= set(new) and old.get("fn") == new.get("fn") and same
  old, new = plain(old), plain(new)
  return type(old) is type(new) and old == new


class Assignments(dict):
  """`{(file, line, field): whether it ever changed something}` of the files below `folder`."""

  def __init__(self, folder: pathlib.Path):
    super().__init__()
    self.folder = str(folder)

  def restated(self) -> list[str]:
    """Those that never did."""
    return [f"{file}:{line}: {key}" for (file, line, key), moves in self.items() if not moves]

  @contextlib.contextmanager
  def recorded(self) -> Iterator[None]:
    """Adds what is assigned meanwhile."""
    assign = ConfigDict.__setitem__

    def noted(section, key, value):
      frame, within = sys._getframe(1), set()
      while "ml_collections" in frame.f_code.co_filename:
        within.add(frame.f_code.co_name)
        frame = frame.f_back
      file = frame.f_code.co_filename
      if file.startswith(self.folder) and "get_ref" not in within:
        place = pathlib.Path(file).relative_to(self.folder).as_posix(), frame.f_lineno, key
        moves = key not in section or not restates(section[key], value)
        self[place] = self.get(place, False) or moves
      assign(section, key, value)

    ConfigDict.__setitem__ = noted
    try:
      yield
    finally:
      ConfigDict.__setitem__ = assign
