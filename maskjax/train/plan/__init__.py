"""Plan before you rent: a train step compiled ahead of time for devices that are absent."""

from collections.abc import Mapping
from typing import Any


def plan(
  config: Mapping[str, Any], note: Mapping[str, Any], topology: str, as_json: bool = False
) -> str:
  """What a step of a config takes on a topology: memory, FLOPs, links, a bound on its time.

  `note` is the NOTE of the config's file, whose "scale" stands for the data set; `topology` is as
  "v5e:16x16" or "gpu:8". Returns a table, or JSON.

  Raises:
    BadInput: an unknown topology, a missing compiler, or whatever in the config cannot work.
  """
  from maskjax.train.plan.report import make_plan, table, to_json

  made = make_plan(config, note, topology)
  return to_json(made) if as_json else table(made)
