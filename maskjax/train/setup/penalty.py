"""The penalty of weights that a config's section describes."""

from collections.abc import Callable, Mapping
from typing import Any

from maskjax import bind, weights
from maskjax.sections import Lengths, argument, bound
from maskjax.task.base import Task
from maskjax.train.optimizers.rules import match


def penalized(made: Task, section: Mapping[str, Any], lengths: Lengths) -> Task:
  """The task with a penalty of its weights, as a section's `fn` says.

  Args:
    made: the task without it.
    section: `fn` and its arguments; `where`, rules as in `hold`; `scale`, a number or a schedule.
    lengths: of the run, over which schedules move.

  Raises:
    BadInput: an unknown function, argument or schedule.
  """
  own = {k: v for k, v in section.items() if k not in ("where", "scale")}
  penalty, scale = bound(own, lengths), argument(section.get("scale", 1.0), lengths)
  bind.check(penalty, ("leaves",), "penalty")
  return weights.penalized(made, penalty, where=where_of(section), scale=scale)


def where_of(section: Mapping[str, Any]) -> Callable[[Any], Any] | None:
  """The rules of a section as what says of parameters which are meant; None where it has none."""
  rules = section.get("where")
  return (lambda params: match(params, rules, default=False).values) if rules else None
