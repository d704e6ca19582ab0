"""Stages: runs that another one needs first, such as a tokenizer or a dense model."""

import logging
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from maskjax.errors import BadInput, unknown

log = logging.getLogger("maskjax")

FOLDER = "stages"


def needed(config: Mapping[str, Any], workdir: pathlib.Path) -> dict[pathlib.Path, Any]:
  """The stages that a run needs, as configs by their workdirs.

  A stage is a whole config in `config.stages.NAME`, trained in `workdir/stages/NAME` with the run's
  own seed. `init_from="stages/NAME"` begins from its weights, as long as the run has none itself;
  evaluators too may name one. Where they name another place, the stage is not needed.

  Raises:
    BadInput: a stage is named that is not there.
  """
  stages = config.get("stages", {})
  wanted = {f"evals.{k}": v for k, v in _named(config.get("evals", {}))}
  begun = any((workdir / "checkpoints").glob("[0-9]*"))
  wanted |= {k: v for k, v in _named({"init_from": config.get("init_from", "")}) if not begun}
  for field, name in wanted.items():
    if name not in stages:
      raise unknown(f"stage for {field}", name, stages)
  names = [name for name in stages if name in wanted.values()]
  own = {"seed": config["seed"], "seeds": 1}
  return {workdir / FOLDER / name: {**stages[name], **own} for name in names}


def _named(section: Any, field: str = "") -> Iterator[tuple[str, str]]:
  """The fields of a section that name a stage, and the stage; not of one that is switched off."""
  if isinstance(section, Mapping) and section.get("every", 0) >= 0:
    for key, value in section.items():
      yield from _named(value, f"{field}.{key}" if field else key)
  elif isinstance(section, str) and section.startswith(f"{FOLDER}/"):
    yield field, section.removeprefix(f"{FOLDER}/")


def origin(config: Mapping[str, Any], workdir: pathlib.Path) -> pathlib.Path | None:
  """Where a run's first weights lie: a stage of its own, or what `init_from` names.

  Of a run with several seeds each seed gets its own, where there is one.
  """
  named = config.get("init_from")
  return place(named, workdir=workdir, seed=config["seed"]) if named else None


def place(named: str, *, workdir: pathlib.Path, seed: int) -> pathlib.Path:
  """Where a run lies that is named as "stages/NAME" or by its path; see `origin`."""
  path = pathlib.Path(named)
  path = workdir / path if path.parts[0] == FOLDER else path.expanduser()
  mine = path / "seeds" / str(seed)
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
