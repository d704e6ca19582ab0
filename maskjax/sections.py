"""Sections of a config that name their functions in full: `dict(fn="select.top", ratio=0.75)`.

Any argument may hold a section of its own, which is bound first; one that makes a schedule is an
argument that moves over the run.
"""

import functools
import importlib
import inspect
import math
import pkgutil
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from maskjax import bind
from maskjax.errors import BadInput, nearest, unknown
from maskjax.pace import Schedule
from maskjax.schedule import at_epoch, at_step, during

PACES = ("step", "epoch", "example")
MOVES = ("begin", "stop", "by")  # what the section of a schedule says beside its arguments


class Lengths(NamedTuple):
  """How long a run and an epoch last, in steps; an epoch may end within a step."""

  total_steps: int
  steps_per_epoch: float


def find(name: str) -> Callable[..., Any]:
  """The function of a qualified name: "select.top" of maskjax, "package.module:name" of any.

  Raises:
    BadInput: there is none; the nearest name is given.

  >>> find("select.top").__name__, find("math:sqrt")(4)
  ('top', 2.0)
  """
  if ":" in name:
    return bind.resolve(name, "")
  package, _, attribute = name.rpartition(".")
  if not package:
    raise BadInput(f"fn={name!r} does not say where: write package.name{_qualified(name)}")
  home = f"maskjax.{package}"
  try:
    known = importlib.util.find_spec(home) is not None
  except ModuleNotFoundError:
    known = False
  if not known:
    raise BadInput(f"there is no package {home}, named by fn={name!r}{_qualified(attribute)}")
  return bind.resolve(attribute, home)


def bound(section: Mapping[str, Any], lengths: Lengths | None = None) -> functools.partial[Any]:
  """A section as its function, bound to its arguments; what is unbound is given at the call.

  Args:
    section: `fn`, a qualified name, and arguments. None is the default of an argument that cannot
      be None, and leaves out one that the function does not take, such as it has once another
      function is named. An argument may be a section: that of a schedule becomes a `bind.Moving`,
      any other a bound function. So may the entries of a tuple and of a mapping. An argument that
      is annotated as a schedule is one, and moves nothing.
    lengths: of the run, over which schedules move, None where nothing moves; within a function that
      was declared by `bind.paced` they move over its own steps.

  Raises:
    BadInput: an unknown function or argument.

  >>> ratio = dict(fn="schedule.linear", start=0.0, end=1.0)
  >>> select = bound(dict(fn="select.top", ratio=ratio), Lengths(100, 10))
  >>> bind.at(select, 50).keywords["ratio"].item()
  0.5
  >>> bound(dict(fn="select.top", count=3, sigma=None)).keywords
  {'count': 3}
  """
  if not is_section(section):
    raise BadInput(f"a section names its function as fn=…, got {section!r}")
  return binding(find(section["fn"]), section, lengths)


def binding(
  fn: Callable[..., Any], section: Mapping[str, Any], lengths: Lengths | None
) -> functools.partial[Any]:
  """A function bound to the arguments of a section, whatever its `fn`; see `bound`."""
  takes = inspect.signature(fn).parameters
  whatever = any(p.kind is p.VAR_KEYWORD for p in takes.values())
  pace = getattr(fn, "pace", "")
  if pace:
    lengths = Lengths(section.get(pace, takes[pace].default), 1)
  given = {}
  for name, value in section.items():
    # None stands for the default, and unsets what was an argument of another function.
    if value is None and not (_may_be_none(takes[name]) if name in takes else whatever):
      continue
    said = takes[name].annotation if name in takes else None
    if name != "fn" and said in (Schedule, functools.partial[Schedule]) and is_section(value):
      made = bound(value, lengths)
      given[name] = made() if said == Schedule else made
    elif name != "fn":
      given[name] = argument(value, lengths)
  if not whatever:
    for key in given:
      if key not in takes:
        raise unknown(f"argument of {section['fn']}", key, takes)
  return functools.partial(fn, **given)


def _may_be_none(parameter: inspect.Parameter) -> bool:
  """Whether None says something to a function; else it stands for the default."""
  said = parameter.annotation
  if isinstance(said, str):
    return "None" in said or "Any" in said
  return said in (parameter.empty, Any) or type(None) in typing.get_args(said)


def argument(value: Any, lengths: Lengths | None) -> Any:
  """An argument of a section as its function is to get it, see `bound`."""
  if isinstance(value, tuple | list):
    return tuple(argument(part, lengths) for part in value)
  if isinstance(value, Mapping) and not is_section(value):
    return {name: argument(part, lengths) for name, part in value.items()}
  if not is_section(value):
    return value
  if makes_schedule(find(value["fn"])):
    return moving(value, lengths)
  return bound(value, lengths)


def is_section(value: Any) -> bool:
  """Whether this is a mapping that names a function."""
  return isinstance(value, Mapping) and isinstance(value.get("fn"), str)


def makes_schedule(fn: Callable[..., Any]) -> bool:
  """Whether a function says that it returns a `Schedule`."""
  try:
    said = inspect.signature(fn).return_annotation
  except ValueError:
    return False
  return said == Schedule or (isinstance(said, str) and said.endswith("Schedule"))


def moving(section: Mapping[str, Any], lengths: Lengths | None) -> bind.Moving:
  """A schedule's section as an argument that moves.

  Beside the schedule's own arguments: `begin` and `stop`, the shares of the run between which it
  moves (0 and 1 unless said), and `by`, "step" or "epoch"; by "example" it is no share of the run
  that the schedule is given, but a number drawn uniformly for each example.

  Raises:
    BadInput: no such schedule, an argument that it does not take, an unknown `by`, or nothing that
      it could move over.
  """
  if lengths is None:
    raise BadInput(f"{section['fn']} moves over a run: here an argument is what it is throughout")
  own = {k: v for k, v in section.items() if k not in MOVES}
  factory = bound(own, lengths)
  bind.check(factory, (), "its section")
  return moves(factory(), lengths, **{k: v for k, v in section.items() if k in MOVES})


def moves(
  schedule: Schedule, lengths: Lengths, *, begin: float = 0.0, stop: float = 1.0, by: str = "step"
) -> bind.Moving:
  """A schedule as an argument that moves, see `moving`.

  Raises:
    BadInput: an unknown `by`, or epochs that end within a step.
  """
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


def _qualified(name: str) -> str:
  """The qualified names that a name may stand for, as the tail of an error."""
  package = importlib.import_module("maskjax")
  homes = [m.name for m in pkgutil.iter_modules(package.__path__) if m.ispkg] + ["schedule"]
  names = {
    f"{home}.{one}": one
    for home in homes
    for one in getattr(importlib.import_module(f"maskjax.{home}"), "__all__", ())
  }
  same = sorted(full for full, short in names.items() if short == name)
  if same:
    return f"; did you mean {' or '.join(map(repr, same))}?"
  return nearest(name, names) or nearest(name, names.values())
