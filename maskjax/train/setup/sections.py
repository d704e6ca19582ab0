"""What a config says of a run, checked before anything is opened."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from maskjax import lab
from maskjax.data import pipeline
from maskjax.errors import BadInput, unknown
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.log.profiler import Profiler
from maskjax.train.setup.build import FREE, IDENTITY, LENGTHS

NEEDED = ("task", "data", "optimizer", "batch_size", "seed")
# Sections of which None means that the default stands, as it does for fields of the config.
AROUND = ("loader", "checkpoint", "log", "profile", "evals", "sample", "explain")


def _takes(fn: Callable[..., Any], *more: str, without: tuple[str, ...] = ()) -> tuple[str, ...]:
  options = inspect.signature(fn).parameters.values()
  own = [p.name for p in options if p.kind is p.KEYWORD_ONLY and p.name not in without]
  return *own, *more


KEYS = {
  "loader": _takes(pipeline.batches, without=("batch_size", "seed", "position", "process")),
  "checkpoint": _takes(Checkpoints, "every"),
  "log": tuple(lab.common().log),
  "profile": _takes(Profiler),
}


def checked(config: Mapping[str, Any]) -> dict[str, Any]:
  """A config of plain dicts without what is None in it, where that says that a default stands.

  Raises:
    BadInput: an unknown field, one that is needed and not there, or an unknown key of a section of
      the run.

  >>> config = {"task": {"fn": "a.b"}, "data": {"name": "c"}, "optimizer": {}, "hold": None}
  >>> sorted(checked({**config, "batch_size": 2, "seed": 0}))
  ['batch_size', 'data', 'optimizer', 'seed', 'task']
  """
  fields = {*FREE, *IDENTITY, *LENGTHS} - {"total"}
  for name in config:
    if name not in fields:
      raise unknown("config field", name, fields)
  found = {k: _without_none(v) if k in AROUND else v for k, v in config.items() if v is not None}
  if isinstance(found.get("data"), Mapping):
    found["data"] = {k: v for k, v in found["data"].items() if v is not None}
  for name in NEEDED:
    if name not in found:
      raise BadInput(f"the config needs a field {name!r}")
  for name in (*KEYS, "task", "data", "optimizer", "evals"):
    if not isinstance(found.get(name, {}), Mapping):
      raise BadInput(f"the config's {name} is a section of keys, got {found[name]!r}")
  for name, key in (("data", "name"), ("task", "fn")):
    if key not in found[name]:
      raise BadInput(f"the config needs a field '{name}.{key}'")
  for name, keys in KEYS.items():
    for key in found.get(name, {}):
      if key not in keys:
        raise unknown(f"key of {name},", key, keys)
  return found


def _without_none(section: Any) -> Any:
  if not isinstance(section, Mapping):
    return section
  return {key: _without_none(value) for key, value in section.items() if value is not None}
