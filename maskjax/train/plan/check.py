"""What a config comes to on this machine and these data, built without running anything."""

import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from maskjax.data import tfds
from maskjax.errors import unknown
from maskjax.sections import find
from maskjax.task.answers import Needs, needed
from maskjax.task.base import FROZEN
from maskjax.train.evaluators.evaluation import check_evaluators, on
from maskjax.train.jobs.offered import jobs
from maskjax.train.run import JOBS, plain
from maskjax.train.setup import stages
from maskjax.train.setup.build import Parts, make_parts
from maskjax.train.setup.checks import check_data, check_identity, check_saving
from maskjax.train.setup.remarks import remarks
from maskjax.train.setup.sections import checked
from maskjax.train.state import parameter_count
from maskjax.train.workdirs import remote
from maskjax.train.workdirs.workdir import known_record

Config = Mapping[str, Any]


def check(config: Config, workdir: str = "") -> str:
  """Opens the data and builds task, parameters and optimizer as a run would; nothing is written.

  Nothing is downloaded either: a data set of TFDS that is not on this machine is refused.

  Args:
    config: of a run.
    workdir: where it would run, "" for nowhere yet: a run there must be of the same identity, on
      the same data.

  Returns:
    The record of the data, parameters, steps, and what each evaluator needs; of stages too.

  Raises:
    BadInput: whatever in the config cannot work.
  """
  config = checked(plain(config))
  job = config.get("job", "train")
  if job not in JOBS:
    raise unknown("job", job, JOBS)
  with remote.mirrored(workdir or os.devnull) as place, tfds.not_downloaded():
    folder = pathlib.Path(place)
    check_identity(folder, config)
    first = stages.needed(config, folder)
    parts = make_parts(config, known=known_record(folder))
    check_data(folder, parts)
    said = [_said(config, parts)]
    for path, stage in first.items():
      config = checked(plain(stage))
      said.append(f"stage {path.name}\n{_said(config, make_parts(config))}")
  return "\n\n".join(said)


def _said(config: Config, parts: Parts) -> str:
  check_evaluators(config.get("evals", {}), parts.data.record, parts.task, parts.data)
  check_saving(config)
  rows = [*_facts(config, parts), *_evaluators(config)]
  width = max(len(name) for name, _ in rows)
  return "\n".join(f"{name:{width}}  {said}".rstrip() for name, said in rows)


def _facts(config: Config, parts: Parts) -> Iterator[tuple[str, str]]:
  """What a run of it would be made of, a name and what to say of it each."""
  record, variables = parts.data.record, parts.state.variables
  splits = ", ".join(f"{name} {size:,}" for name, size in record.sizes.items())
  classes = f", {record.classes} classes" if record.classes else ""
  words = f", {len(record.vocabulary):,} tokens" if record.vocabulary else ""
  yield "data", f"{config['data']['name']}: {record.kind} {record.shape}{classes}{words}; {splits}"
  yield "task", config["task"]["fn"]
  yield "answers", ", ".join(sorted(parts.task.answers)) or "none"
  yield "jobs", ", ".join(("train", *jobs(parts)))
  still = parameter_count({"params": variables.get(FROZEN, {})})
  yield "parameters", f"{parameter_count(variables):,}{f', frozen {still:,}' if still else ''}"
  for line in parts.optimizer.report:
    yield "optimizer", line
  batch_size, seeds = config["batch_size"], config.get("seeds", 1)
  train = record.sizes[config["data"].get("train", "train")]
  epochs = parts.total_steps * batch_size / train
  several = f", {seeds} seeds" if seeds > 1 else ""
  yield "steps", f"{parts.total_steps:,} of {batch_size:,} examples, {epochs:.3g} epochs{several}"
  device = parts.mesh.mesh.devices.flat[0]
  for line in remarks(parts):
    yield "warning", line
  yield "devices", f"{parts.mesh.devices} x {device.device_kind}"


def _evaluators(config: Config) -> Iterator[tuple[str, str]]:
  """When each evaluator runs and what it needs, which is there."""
  for name, section in (config.get("evals") or {}).items():
    if on(section):
      every = section.get("every", 0)
      often = f"first and last step{f', every {every:,} steps' if every else ''}"
      yield f"evals.{name}", f"{often}; {_needs(needed(find(section['fn'])))}"
    else:
      yield f"evals.{name}", "off"


def _needs(needs: Needs) -> str:
  """What an evaluator declared to need, in words."""
  wanted = [*needs.answers, *(["labels"] if needs.labels else []), *needs.fields]
  looks = f", looks at {needs.seen}" if needs.kinds else ""
  return f"needs {', '.join(wanted) or 'nothing'}{looks}"
