"""Lists of files, a name a line, as data sets have them beside their folders."""

import logging
import re
from collections.abc import Mapping, Sequence

from maskjax.data.listing import normal
from maskjax.errors import BadInput

_log = logging.getLogger("maskjax")


def by_lists(
  names: Sequence[str], given: Mapping[str, Sequence[tuple[str, str]]], rest: str | None
) -> dict[str, str]:
  """The split of each file that lists name; of the others `rest`, or none.

  A line names a file from the folder of its list or, where that is none, by the end of its path;
  its suffix may be left out, and a number behind it, such as a label, does not count. What lists
  name besides is counted.

  Args:
    names: of files.
    given: by split, the lines of its lists, each behind the folder that the list lies in.
    rest: the split of files that no list names; None for none.

  Raises:
    BadInput: a list names nothing that is there, a line several files, or two splits one file.
  """
  found: dict[str, str] = {}
  tails: dict[int, dict[str, list[str]]] = {}
  known = set(names)
  for split, lines in given.items():
    absent = []
    for folder, line in lines:
      forms = _forms(line)
      whole = [f"{folder}/{form}" if folder else form for form in forms]
      held = next(([name] for name in whole if name in known), [])
      for form in () if held else forms:
        depth = form.count("/") + 1
        tails[depth] = tails.get(depth) or _tails(names, depth)
        held = held or tails[depth].get(form, [])
      if len(held) > 1:
        raise BadInput(f"{forms[0]} of the list of {split} may be {held[0]} or {held[1]}")
      absent += [] if held else forms[:1]
      for name in held:
        if found.setdefault(name, split) != split:
          raise BadInput(f"{name} is listed for {found[name]} and for {split}")
    if split not in found.values():
      raise BadInput(f"the list of {split} names no file that is there, such as {absent[:1]}")
    if absent:
      told = "the list of %s names %d files that are not there (%s)"
      _log.warning(told, split, len(absent), absent[0])
  return {**{name: rest for name in names if rest}, **found}


def _forms(line: str) -> list[str]:
  """What a line may name: all of it, or all but a number at its end; none for an empty line."""
  whole = normal(line.strip().replace("\\", "/").removeprefix("./"))
  return list(dict.fromkeys(form for form in (whole, re.sub(r"\s+\d+$", "", whole)) if form))


def _tails(names: Sequence[str], depth: int) -> dict[str, list[str]]:
  """Names by the last `depth` parts of their paths, with and without the suffix."""
  found: dict[str, list[str]] = {}
  for name in names:
    tail = "/".join(name.split("/")[-depth:])
    for form in (tail, tail.rpartition(".")[0]):
      found.setdefault(form, []).append(name)
  return found
