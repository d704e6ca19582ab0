"""Stages: runs that another one needs first, such as a tokenizer or a dense model."""

import logging
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from maskjax.errors import BadInput, unknown

log = logging.getLogger("maskjax")

FOLDER = "stages"


def needed(config: Mapping[str, Any], workdir: pathlib.Path) -> dict[pathlib.Path, Any]:
  """The stages of a run that starts from scratch, as configs by their workdirs.

  A stage is a whole config in `config.stages.NAME`, trained in `workdir/stages/NAME` with the run's
  own seed. `init_from="stages/NAME"` begins from its weights; where that names another place, the
  stage is not needed.

  Raises:
    BadInput: `init_from` names a stage that is not there.
  """
  stages, origin = config.get("stages", {}), str(config.get("init_from", ""))
  name = origin.removeprefix(f"{FOLDER}/")
  if name != origin and name not in stages:
    raise unknown("stage for init_from", name, stages)
  if name == origin or any((workdir / "checkpoints").glob("[0-9]*")):
    return {}
  return {workdir / FOLDER / name: {**stages[name], "seed": config["seed"], "seeds": 1}}


def origin(config: Mapping[str, Any], workdir: pathlib.Path) -> pathlib.Path | None:
  """Where a run's first weights lie: a stage of its own, or what `init_from` names.

  Of a run with several seeds each seed gets its own, where there is one.
  """
  named = config.get("init_from")
  if not named:
    return None
  path = pathlib.Path(named)
  path = workdir / path if path.parts[0] == FOLDER else path.expanduser()
  mine = path / "seeds" / str(config["seed"])
  return mine if mine.is_dir() else path


def run_stages(config: Mapping[str, Any], workdir: pathlib.Path, train: Callable[..., Any]) -> None:
  """Trains what is needed first and not yet there; a stage that was stopped is continued.

  Raises:
    BadInput: see `needed`; a stage in that place of another config.
  """
  for folder, stage in needed(config, workdir).items():
    if stage.get("job", "train") != "train":
      raise BadInput(f"stage {folder.name} is to be trained, its job is {stage['job']!r}")
    log.info("stage %s in %s", folder.name, folder)
    train(stage, folder)
