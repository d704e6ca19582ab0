"""Which jobs a run offers, and the commands that do them: what a run says at its end."""

import contextlib
import pathlib
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from maskjax.errors import BadInput
from maskjax.flags import RUN
from maskjax.sections import find
from maskjax.task.answers import lacks, needed
from maskjax.train.evaluators.evaluation import on
from maskjax.train.jobs import explanation
from maskjax.train.jobs.generation import writer
from maskjax.train.setup.build import Parts

OWN = ("maskjax", "optax")  # packages that a config may name without being trusted


def jobs(parts: Parts) -> Iterator[str]:
  """The jobs of a run beside training that its task and its data allow."""
  config, task, record = parts.config, parts.task, parts.data.record
  if any(on(section) for section in config.get("evals", {}).values()):
    yield "evaluate"
  if "views" in task.answers:
    yield "view"
  with contextlib.suppress(BadInput):
    writer(task, record, config["task"]["fn"])
    yield "generate"
  if not lacks(explanation.explain, task, record):
    yield "explain"


def results(parts: Parts, workdir: pathlib.Path) -> str:
  """Where the results of a run lie, the commands that continue, evaluate and view it, and a note.

  The note is on what flatters its pictures and errors, see `maskjax.task.base.Task.told`.
  """
  written = ("config.json", "metrics.jsonl", "checkpoints", "views", "seeds")
  there = [name for name in written if (workdir / name).exists()]
  packages = ",".join(sorted({*_packages(parts.config)} - {*OWN}))
  command = f"{RUN} --workdir={shlex.quote(str(workdir))}"
  command += f" --trust={packages}" if packages else ""
  commands = {"continue": command, **{job: f"{command} --job={job}" for job in jobs(parts)}}
  if (told := parts.task.told) and any(map(_shows, parts.config.get("evals", {}).values())):
    commands["note"] = f"predictions are shown and measured given {told}, which flatters them"
  lines = [f"{name:8}  {words}" for name, words in commands.items()]
  return "\n".join([f"results in {workdir}: {', '.join(there)}", *lines])


def _shows(section: Mapping[str, Any] | None) -> bool:
  """Whether an evaluator runs that looks at a task's views."""
  return section is not None and on(section) and "views" in needed(find(section["fn"])).answers


def _packages(section: Mapping[str, Any]) -> Iterator[str]:
  """The packages that a config names functions of as "package.module:name"."""
  for key, value in section.items():
    if key in ("fn", "name") and isinstance(value, str) and ":" in value:
      yield value.partition(":")[0].partition(".")[0]
    for part in value if isinstance(value, tuple | list) else (value,):
      if isinstance(part, Mapping):
        yield from _packages(part)
