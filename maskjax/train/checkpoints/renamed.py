"""Names of arrays that checkpoints and exports of before gave otherwise."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from maskjax.task.base import FROZEN, STATISTICS, TEACHERS
from maskjax.task.normalised import NORMALISATION

# In the order in which they are applied: collections of the first format of config.json.
OLD = (
  (r"^teacher/", "teachers/teacher/"),
  (r"^modalities/(\w+)/", r"fitted/\1_map/"),
  (r"^before/", "mask_state/"),
)

# Fields of the state, as checkpoints of formats 1 and 2 have them.
OLD_STATE = (
  (r"^state/moments/", "state/opt_state/"),
  (r"^state/average/", "state/ema/"),
  (r"^state/variables/before/", "state/variables/mask_state/"),
)
# What states of before did not have; all zeros say that nothing is known, see `task.normalised`.
ADDED = f"state/variables/{NORMALISATION}/"
# Where averages of networks lie in a checkpoint, each a tree of collections.
AVERAGES = r"state/ema/|state/variables/teachers/[^/]+/"


def current(found: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
  """What a checkpoint has by the name of its array, by the names that the state has now.

  EMA networks were parameters alone: running statistics that they lack are the network's own.

  Returns:
    All of it, and the names of the statistics that were filled in.

  >>> current({"state/average/encoder/kernel": 0})[0]
  {'state/ema/params/encoder/kernel': 0}
  >>> old = {"state/variables/batch_stats/norm/mean": 1, "state/ema/norm/scale": 0}
  >>> current(old)[1]
  ['state/ema/batch_stats/norm/mean']
  """
  for old, new in OLD_STATE:
    found = {re.sub(old, new, name): array for name, array in found.items()}
  averages = {match[0] for name in found if (match := re.match(AVERAGES, name))}
  alone = [one for one in averages if not any(name.startswith(f"{one}params/") for name in found)]
  if not alone:
    return dict(found), []
  whole = {re.sub(f"^({'|'.join(alone)})", r"\1params/", name): x for name, x in found.items()}
  part = lambda name, i: name.split("/")[i : i + 1]
  still = [part(name, 3) for name in found if part(name, 2) == [FROZEN]]
  kept = {
    name.removeprefix("state/variables/"): array
    for name, array in found.items()
    if part(name, 2) == [STATISTICS] and part(name, 3) not in still
  }
  filled = {f"{one}{name}": array for one in alone for name, array in kept.items()}
  return {**whole, **filled}, sorted(filled)


def renamed(theirs: Mapping[str, Any], ours: Iterable[str]) -> dict[str, Any]:
  """Variables by name, with the names that they have now.

  A source that froze nothing gives its parameters to what is frozen here; where that is one network
  and the source does not name it, they are its.

  Args:
    theirs: arrays by name, with slashes.
    ours: the names of the variables that they are for.

  >>> list(renamed({"teacher/w": 0, "params/w": 1}, ["params/w", "teachers/teacher/params/w"]))
  ['teachers/teacher/params/w', 'params/w']
  >>> list(renamed({"params/encoder/w": 0}, ["params/w", "frozen/codec/encoder/w"]))
  ['frozen/codec/encoder/w']
  """
  found, ours = dict(theirs), list(ours)
  for old, new in OLD:
    found = {re.sub(old, new, name): array for name, array in found.items()}
  # Teachers were parameters alone.
  inside = {name: re.sub(f"^({TEACHERS}/[^/]+/)", r"\1params/", name) for name in found}
  found = {inside[k] if inside[k] in ours and k not in ours else k: x for k, x in found.items()}
  frozen = [name.split("/")[1] for name in ours if name.startswith(f"{FROZEN}/")]
  if not frozen:
    return found
  if not any(name.startswith(f"{FROZEN}/") for name in found):
    found = {re.sub("^params/", f"{FROZEN}/", name): array for name, array in found.items()}
  # Networks were not named where a task had one of them only.
  first, *others = dict.fromkeys(frozen)
  own = f"{FROZEN}/{first}/"
  if not others and not any(name.startswith(own) for name in found):
    # With the weights goes the state that belongs to them.
    kinds = "|".join({name.split("/")[0] for name in ours if name.split("/")[1] == first})
    found = {re.sub(f"^({kinds})/", rf"\1/{first}/", name): x for name, x in found.items()}
  return found
