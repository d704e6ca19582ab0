"""A config's sections as bound functions; arguments that are schedules move with the step."""

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from maskjax import bind
from maskjax.errors import BadInput, unknown
from maskjax.schedule import at_epoch, at_step, during

# The sections whose functions a task is handed, and the packages that hold those functions.
WORDS = {
  "codec": "maskjax.model",
  "model": "maskjax.model",
  "tokenizer": "maskjax.model",
  "score": "maskjax.score",
  "select": "maskjax.select",
  "drop": "maskjax.select",
  "hide": "maskjax.hide",
  "target": "maskjax.recover",
  "recover": "maskjax.recover",
  "contrast": "maskjax.recover",
  "teach": "maskjax.recover",
  "teacher": "maskjax.task.teacher",
  "schedule": "maskjax.schedule",
  "generate": "maskjax.generate",
}
PACES = ("step", "epoch", "example")


class Lengths(NamedTuple):
  """How long a run and an epoch last, in steps; an epoch may end within a step."""

  total_steps: int
  steps_per_epoch: float


def word(
  section: Mapping[str, Any], home: str, lengths: Lengths, homes: Mapping[str, str] = WORDS
) -> functools.partial:
  """Binds a section to the function that it names in the package `home`.

  A section within it is a word of its own where its name is among `homes`; any other that names a
  function is a schedule, and the argument moves with the step, see `bind.at`.

  Raises:
    BadInput: an unknown function, argument or schedule.

  >>> ratio = {"fn": "linear", "start": 0.0, "end": 1.0}
  >>> select = word({"fn": "top", "ratio": ratio}, "maskjax.select", Lengths(100, 10))
  >>> bind.at(select, 50).keywords["ratio"].item()
  0.5
  """

  def inner(name: str, value: Any) -> Any:
    if not (isinstance(value, Mapping) and "fn" in value):
      return value
    known = name in homes
    return word(value, homes[name], lengths, homes) if known else moving(value, lengths)

  return bind.bind({name: inner(name, value) for name, value in section.items()}, home)


def moving(section: Mapping[str, Any], lengths: Lengths) -> bind.Moving:
  """A schedule's section as an argument that moves.

  Beside the schedule's own arguments: `begin` and `stop`, the shares of the run between which it
  moves (0 and 1 unless said), and `by`, "step" or "epoch"; by "example" it is no share of the run
  that the schedule is given, but a number drawn uniformly for each example.

  Raises:
    BadInput: no such schedule, an argument that it does not take, an unknown `by`.
  """
  rest = dict(section)
  begin, stop, by = rest.pop("begin", 0.0), rest.pop("stop", 1.0), rest.pop("by", "step")
  factory = bind.bind(rest, "maskjax.schedule")
  bind.check(factory, (), "its section")
  schedule = factory()
  if (begin, stop) != (0, 1):
    schedule = during(schedule, begin, stop)
  if by == "example":
    return bind.Moving(schedule, each=True)
  if by == "step":
    return bind.Moving(at_step(schedule, lengths.total_steps))
  if by != "epoch":
    raise unknown("pace of a schedule", by, PACES)
  whole = round(lengths.steps_per_epoch)
  if not math.isclose(whole, lengths.steps_per_epoch):
    raise BadInput("a schedule by epoch needs epochs of whole steps: choose another batch_size")
  return bind.Moving(at_epoch(schedule, math.ceil(lengths.total_steps / whole), whole))
