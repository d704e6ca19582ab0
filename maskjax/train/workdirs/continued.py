"""The config of the run that a workdir holds, to go on with it."""

import os
import pathlib
from typing import Any

from ml_collections import ConfigDict

from maskjax.errors import BadInput, nearest
from maskjax.train.workdirs import remote
from maskjax.train.workdirs.workdir import read_config

FILE = "config.json"


def continued(workdir: str | os.PathLike[str]) -> ConfigDict:
  """The config that a run in `workdir` was begun with, as config files give it.

  Args:
    workdir: a folder or a URL; see `remote`.

  Raises:
    BadInput: no run there (the nearest beside it is named), a config that cannot be read, or the
      folder of one seed of several.
  """
  with remote.mirrored(workdir) as place:
    path = pathlib.Path(place).absolute()
    config = read_config(path)
    if config is None:
      beside = [file.parent.name for file in path.parent.glob(f"*/{FILE}")]
      meant = nearest(path.name, beside)
      raise BadInput(
        f"{place} holds no run: there is no {FILE}{meant}; begin one with --config=ID[:preset]"
      )
    of_several = config.get("seeds", 1) > 1 and path.parts[-2:] == ("seeds", str(config["seed"]))
    if of_several:
      raise BadInput(f"{place} holds one of several seeds: name the workdir of all, two folders up")
  return ConfigDict(_tuples(config))


def _tuples(value: Any) -> Any:
  """JSON has lists for the tuples of a config."""
  if isinstance(value, dict):
    return {k: _tuples(_log(part) if k == "log" else part) for k, part in value.items()}
  return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _log(section: Any) -> Any:
  """The section `log` as it is now, of a run of before loggers were sections."""
  if not isinstance(section, dict) or "loggers" in section:
    return section
  loggers = {}
  if section.get("tensorboard", True):
    loggers["tensorboard"] = {"fn": "train.log.tensorboard"}
  if section.get("wandb"):
    loggers["wandb"] = {"fn": "train.log.wandb", "project": section["wandb"]}
  kept = {key: value for key, value in section.items() if key not in ("tensorboard", "wandb")}
  return {**kept, "loggers": loggers}
