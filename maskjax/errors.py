"""What can go wrong by the user's hand, and how it is said: what came, what is allowed."""

import difflib
from collections.abc import Iterable


class BadInput(ValueError):  # noqa: N818
  """What was given cannot work; `launch.py` prints the one line and leaves with status 2."""


class Restart(RuntimeError):  # noqa: N818
  """The run stopped early and continues when started again; `launch.py` leaves with status 75."""


def nearest(name: object, choices: Iterable[object], cutoff: float = 0.6) -> str:
  """Names the choice closest to `name`, as the tail of an error message; empty when none is near.

  Near means a likeness, as `difflib` has it, of at least `cutoff`: 1 for equal, 0 for unlike.

  >>> nearest("rato", ["ratio", "count"])
  "; did you mean 'ratio'?"
  >>> nearest("zzz", ["ratio", "count"])
  ''
  """
  close = difflib.get_close_matches(str(name), [str(c) for c in choices], n=1, cutoff=cutoff)
  return f"; did you mean {close[0]!r}?" if close else ""


def unknown(what: str, name: object, choices: Iterable[object]) -> BadInput:
  """The error for a name that is none of `choices`.

  >>> unknown("preset", "latpop", ["laptop", "smoke"])
  BadInput("unknown preset 'latpop'; did you mean 'laptop'? (known: laptop, smoke)")
  """
  choices = sorted(str(c) for c in choices)
  known = ", ".join(choices) if choices else "none"
  return BadInput(f"unknown {what} {name!r}{nearest(name, choices)} (known: {known})")
