"""Stopping rules: whether a run ends before its last step, by what its evaluations came to.

A rule is `(rows, …) -> bool`, with the scalars of the run so far by step. A config names one as
`until`; it is asked after each evaluation, and again when a run goes on.
"""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

from maskjax import bind
from maskjax.errors import BadInput, unknown
from maskjax.sections import bound
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.evaluators.evaluation import on
from maskjax.train.log.summary import read_metrics
from maskjax.train.pod.member import me
from maskjax.train.result import OnEval

Rows = Mapping[int, Mapping[str, float | None]]


def exceeds(rows: Rows, *, metric: str, than: str, mean_of: int = 1) -> bool:
  """Whether the mean of a metric over its last evaluations is above what another one is by now.

  Args:
    rows: scalars by step; evaluations of step 0, before training, do not count.
    metric: "eval/NAME/FIGURE", as metrics.jsonl has it.
    than: the other one, of the last of these evaluations.
    mean_of: over how many evaluations; fewer of them decide nothing.

  Raises:
    BadInput: no positive number of evaluations, or an evaluation without one of the metrics.

  >>> rows = {5: {"a": 0.5, "b": 0.7}, 10: {"a": 0.9, "b": 0.6}}
  >>> exceeds(rows, metric="a", than="b", mean_of=2), exceeds(rows, metric="b", than="a")
  (True, False)

  Glandorf, Kaiser, Rosenhahn, "HyperSparse Neural Networks", 2023, section 3 (accuracy of the
  pruned network above that of the dense one, `mean_of` three epochs).
  """
  if mean_of < 1:
    raise BadInput(f"exceeds: mean_of is at least 1, got {mean_of}")
  names = (metric, than)
  found = [rows[step] for step in sorted(rows) if step > 0 and any(n in rows[step] for n in names)]
  for name in names:
    if found and name not in found[-1]:
      raise unknown("metric for until", name, found[-1])
  last = [value for row in found if (value := row.get(metric)) is not None][-mean_of:]
  bar = found[-1][than] if found else None
  return len(last) == mean_of and bar is not None and sum(last) / mean_of > bar


def rule(config: Mapping[str, Any]) -> functools.partial[Any] | None:
  """The rule of a config's `until`; None where it has none.

  Raises:
    BadInput: an unknown function or argument, or no evaluator that would ask it.
  """
  section = config.get("until")
  if not section:
    return None
  made = bound(section)
  bind.check(made, ("rows",), "until")
  if not any(on(s) and s.get("every") for s in config.get("evals", {}).values()):
    raise BadInput("until is asked after evaluations, and evals has none before the last step")
  return made


class Until:
  """The rule of a config for a run in a workdir, asked beside whoever else may end it.

  Args:
    config: of the run.
    workdir: of one of its seeds.
    on_eval: who else is asked after each evaluation.
  """

  def __init__(
    self, config: Mapping[str, Any], workdir: pathlib.Path, on_eval: OnEval | None = None
  ):
    self.rule, self.workdir, self.others = rule(config), workdir, on_eval

  @property
  def asked(self) -> OnEval | None:
    """Who is asked after each evaluation; None where nobody is."""
    return self.others if self.rule is None else self._asked

  def _asked(self, step: int, scalars: Mapping[str, float]) -> bool:
    others = self.others is not None and bool(self.others(step, scalars))
    return others or self._met(step)

  def ended(self) -> int | None:
    """The step at which the rule has ended the run; None where it has not."""
    if self.rule is None:
      return None
    with Checkpoints(self.workdir) as checkpoints:
      step = max(checkpoints.steps(), default=0) if me().first else 0
    found: int | None = me().barrier("until", step if step and self._met(step) else None)[0]
    return found

  def _met(self, step: int) -> bool:
    """Whether the rule is met by what was evaluated up to a step."""
    rows = read_metrics(self.workdir / "metrics.jsonl")
    return self.rule is not None and bool(self.rule({s: rows[s] for s in rows if s <= step}))
