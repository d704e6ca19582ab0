"""How long things last: steps, epochs, examples or percent of the run, all turned into steps."""

import math
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

from maskjax.errors import BadInput, unknown

UNITS = ("steps", "epochs", "examples", "percent")


@runtime_checkable
class Config(Protocol):
  """Anything to look fields up in: a dict, an `ml_collections.ConfigDict`."""

  def get(self, key: str, /) -> Any:
    """The field's value, None where there is no such field."""
    ...


def _exact(what: str, value: Any) -> Fraction:
  """The number as it is written (0.1 is one tenth), so that rounding does not depend on binary."""
  try:
    number = Fraction(str(value))
  except (ValueError, ZeroDivisionError):
    raise BadInput(f"{what} is {value!r}; a finite number is needed") from None
  if number < 0:
    raise BadInput(f"{what} is {value}; a duration is not negative")
  return number


def steps(
  value: int | float,
  unit: str,
  *,
  batch_size: int,
  examples: int | None,
  total_steps: int | None = None,
  what: str = "duration",
) -> int:
  """The number of steps that `value` `unit` last, to the nearest step (halves up).

  epochs · examples / batch_size,  examples / batch_size  or  percent · total_steps / 100.
  A duration above zero lasts at least one step. `examples` is the size of the data (None: endless),
  `what` names the field in errors. Raises `BadInput` for an unknown unit, a negative or non-finite
  value, a fraction of a step, a percentage above 100, and a unit whose base is not known.

  >>> steps(1.5, "epochs", batch_size=256, examples=50_000)
  293
  >>> steps(10, "percent", batch_size=256, examples=None, total_steps=1000)
  100
  """
  number = _exact(what, value)
  if batch_size < 1:
    raise BadInput(f"batch_size is {batch_size}; at least 1 is needed")
  match unit:
    case "steps":
      if number.denominator != 1:
        raise BadInput(f"{what} is {value}; steps are whole numbers")
      exact = number
    case "epochs":
      if examples is None:
        raise BadInput(f"{what} needs data of a known size; give steps or examples")
      exact = number * examples / batch_size
    case "examples":
      exact = number / batch_size
    case "percent":
      if total_steps is None:
        raise BadInput(f"{what} is a share of the run, whose length is not known here")
      if number > 100:
        raise BadInput(f"{what} is {value}; at most 100 is allowed")
      exact = number * total_steps / 100
    case _:
      raise unknown("unit", unit, UNITS)
  return max(math.floor(exact + Fraction(1, 2)), 1 if number else 0)


def duration(
  name: str,
  config: Config,
  *,
  batch_size: int,
  examples: int | None,
  total_steps: int | None = None,
) -> int | None:
  """Reads `<name>_steps`, `_epochs`, `_examples` or `_percent` from a config, in steps.

  A field that is absent, None or 0 is not set. `<name>_steps` wins over the others, so that
  `--config.total_steps=100` shortens any run; of the others one may be set. With none set, 0 if
  a field says 0, else None. Raises `BadInput` as `steps` does, and for two of the others set.

  >>> duration("total", {"total_epochs": 8, "total_steps": None}, batch_size=100, examples=1000)
  80
  >>> duration("total", {"total_epochs": 8, "total_steps": 5}, batch_size=100, examples=1000)
  5
  >>> duration("warmup", {"warmup_percent": 0}, batch_size=100, examples=1000, total_steps=80)
  0
  """
  given = {unit: config.get(f"{name}_{unit}") for unit in UNITS}
  given = {unit: value for unit, value in given.items() if value is not None}
  chosen = [unit for unit, value in given.items() if _exact(f"{name}_{unit}", value)]
  if "steps" in chosen:
    chosen = ["steps"]
  if len(chosen) > 1:
    fields = " and ".join(f"{name}_{unit}={given[unit]}" for unit in chosen)
    raise BadInput(f"{fields} are both set; set one, or {name}_steps, which overrides them")
  if not chosen:
    return 0 if given else None
  return steps(
    given[chosen[0]],
    chosen[0],
    batch_size=batch_size,
    examples=examples,
    total_steps=total_steps,
    what=f"{name}_{chosen[0]}",
  )
