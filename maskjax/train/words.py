"""A config's sections as bound functions; arguments that are schedules move with the step."""

import functools
from collections.abc import Mapping
from typing import Any

from maskjax import bind
from maskjax.sections import MOVES, Lengths, moves

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
  """A schedule's section as an argument that moves, see `maskjax.sections.moving`.

  Raises:
    BadInput: no such schedule, an argument that it does not take, an unknown `by`.
  """
  factory = bind.bind({k: v for k, v in section.items() if k not in MOVES}, "maskjax.schedule")
  bind.check(factory, (), "its section")
  return moves(factory(), lengths, **{k: v for k, v in section.items() if k in MOVES})
