"""What a training run came to, as `mj.train` returns it."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

from maskjax.train.log.summary import read_metrics, summary
from maskjax.train.pod.member import me

# Called after each evaluation with the step and its scalars; True ends the run there.
OnEval = Callable[[int, Mapping[str, float]], bool | None]


@dataclasses.dataclass(frozen=True)
class Result:
  """What a training run came to; printed, it is what the command line says at the end.

  Attributes:
    workdir: where everything lies, a folder or a URL.
    step: the last step; of several seeds that of the last one trained.
    metrics: the scalars of each seed's last step, averaged over the seeds: "eval/knn/accuracy".
    table: the evaluations of the first and the last step over all seeds, and the newest picture;
      empty in all processes but the first.
    seeds: the scalars of the last step of each seed.
    parameters: how many the run has, frozen ones left out.
    stopped: whether the run ended before its last step, by `on_eval` or by `config.until`.
    commands: where the files are, and how to continue, evaluate and view the run.
  """

  workdir: str
  step: int
  metrics: dict[str, float]
  table: str
  seeds: dict[int, dict[str, float]]
  parameters: int
  stopped: bool = False
  commands: str = ""

  def __str__(self) -> str:
    """The table and the commands that go on from here."""
    return "\n\n".join(filter(None, (self.table, self.commands)))

  def told(self, said: Callable[[str], str]) -> "Result":
    """The result with every place in it as `said` names it."""
    workdir, table, commands = map(said, (self.workdir, self.table, self.commands))
    return dataclasses.replace(self, workdir=workdir, table=table, commands=commands)


def collected(
  folders: Mapping[int, pathlib.Path], steps: Mapping[int, int], *, total: int, parameters: int
) -> Result:
  """What the seeds of a run came to, the same in every process.

  Args:
    folders: of each seed, that of the first one being the workdir.
    steps: where each seed that was trained stands.
    total: the number of steps of the whole run.
    parameters: of the network.
  """
  mine = []
  for seed, step in steps.items() if me().first else ():
    row = read_metrics(folders[seed] / "metrics.jsonl").get(step, {})
    mine.append([seed, {name: value for name, value in row.items() if value is not None}])
  seeds: dict[int, dict[str, float]] = dict(me().barrier("the results", mine)[0])
  workdir, step = next(iter(folders.values())), list(steps.values())[-1]
  table = summary([folders[seed] for seed in steps]) if me().first else ""
  return Result(str(workdir), step, mean(seeds), table, seeds, parameters, step < total)


def ends(on_eval: OnEval | None, step: int, scalars: Mapping[str, float]) -> bool:
  """Whether a run is to end at a step: what `on_eval` says in the first process, told to all."""
  if on_eval is None:
    return False
  said = me().first and bool(on_eval(step, scalars))
  return me().barrier("on_eval", said)[0]


def mean(seeds: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
  """The mean of every metric over the seeds that have it.

  >>> mean({0: {"eval/knn/accuracy": 0.5, "train/loss": 1.0}, 1: {"eval/knn/accuracy": 0.25}})
  {'eval/knn/accuracy': 0.375, 'train/loss': 1.0}
  """
  found: dict[str, list[float]] = {}
  for row in seeds.values():
    for name, value in row.items():
      found.setdefault(name, []).append(value)
  return {name: sum(values) / len(values) for name, values in found.items()}
