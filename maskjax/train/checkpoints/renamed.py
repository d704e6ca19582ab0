"""Names of arrays that checkpoints and exports of before gave otherwise."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from maskjax.task.base import FROZEN

# In the order in which they are applied: collections of the first format of config.json.
OLD = ((r"^teacher/", "teachers/teacher/"), (r"^modalities/(\w+)/", r"fitted/\1_map/"))

# Fields of the state, as checkpoints of formats 1 and 2 have them.
OLD_STATE = ((r"^state/moments/", "state/opt_state/"), (r"^state/average/", "state/ema/"))


def current(name: str) -> str:
  """The name of an array of a checkpoint, as the state has it now.

  >>> current("state/average/encoder/kernel")
  'state/ema/encoder/kernel'
  """
  for old, new in OLD_STATE:
    name = re.sub(old, new, name)
  return name


def renamed(theirs: Mapping[str, Any], ours: Iterable[str]) -> dict[str, Any]:
  """Variables by name, with the names that they have now.

  A source that froze nothing gives its parameters to what is frozen here; where that is one network
  and the source does not name it, they are its.

  Args:
    theirs: arrays by name, with slashes.
    ours: the names of the variables that they are for.

  >>> list(renamed({"teacher/w": 0, "params/w": 1}, ["params/w", "teachers/teacher/w"]))
  ['teachers/teacher/w', 'params/w']
  >>> list(renamed({"params/encoder/w": 0}, ["params/w", "frozen/codec/encoder/w"]))
  ['frozen/codec/encoder/w']
  """
  found = dict(theirs)
  for old, new in OLD:
    found = {re.sub(old, new, name): array for name, array in found.items()}
  frozen = [name.split("/")[1] for name in ours if name.startswith(f"{FROZEN}/")]
  if not frozen:
    return found
  if not any(name.startswith(f"{FROZEN}/") for name in found):
    found = {re.sub("^params/", f"{FROZEN}/", name): array for name, array in found.items()}
  # Networks were not named where a task had one of them only.
  first, *others = dict.fromkeys(frozen)
  own = f"{FROZEN}/{first}/"
  if not others and not any(name.startswith(own) for name in found):
    found = {re.sub(f"^{FROZEN}/", own, name): array for name, array in found.items()}
  return found
