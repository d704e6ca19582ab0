"""Where the numbers and pictures of a run go beside metrics.jsonl: what `config.log.loggers` names.

A logger is a function that makes a `Writer` of what it names of a run: its workdir, the step at
which this launch goes on, its config. It returns None where nothing is to be written.
"""

import pathlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.sections import bound
from maskjax.train.log.metrics import JsonLines, Writer, Writers
from maskjax.train.pod.member import me

OFFERS = ("workdir", "step", "config")


def bind_loggers(config: Mapping[str, Any]) -> dict[str, partial[Any]]:
  """The loggers of a config, bound to their arguments.

  Raises:
    BadInput: an unknown function or argument, or one that a run does not offer.
  """
  sections = config.get("log", {}).get("loggers", {})
  found = {name: bound(section) for name, section in sections.items() if section is not None}
  for logger in found.values():
    bind.check(logger, OFFERS, "a run")
  return found


def open_writers(config: Mapping[str, Any], workdir: pathlib.Path, step: int | None) -> Writers:
  """Where numbers and pictures go; rows beyond `step` are dropped, None keeps all.

  Of several processes only the first writes.

  Raises:
    BadInput: see `bind_loggers`; a logger that makes something else than a writer.
  """
  if not me().first:
    return Writers(())
  writers: list[Writer] = [JsonLines(workdir / "metrics.jsonl", step)]
  offers = dict(zip(OFFERS, (workdir, step, config), strict=True))
  for name, logger in bind_loggers(config).items():
    made = bind.call(logger, offers)
    if not isinstance(made, Writer | None):
      raise BadInput(f"log.loggers.{name} made {made!r}: a writer has scalars, image and close")
    writers += [made] if made is not None else []
  return Writers(writers)
