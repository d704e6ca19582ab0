"""Values by name: how each is made, where it is, and how it is written."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from maskjax import bind

MAIN = "main"
# Optional arguments that are filled with the values of their names; any other optional argument is
# a value only where `of` says so, or else a value called `temperature` would change every softmax.
FILLED = ("allowed", "grid", "valid", "keys", "step", "train")
# Arguments that a run tells by itself: see `Value`.
DRAWS = ("keys", "key")  # those of them that come from the value's stream
TOLD = (*DRAWS, "graph", "state", "keep", "exact")


class Value(NamedTuple):
  """How a value is made.

  Attributes:
    fn: a function of other values, bound to its hyperparameters. It may name `keys`, one key for
      each example; `key`, one for the step, of what all examples share; `graph`, see `run.Run.ask`;
      and `state`, what it returned last beside its value: then it returns the pair (value, state),
      `state` being None at first.
    of: argument → reference. A required argument that is not here is the value of its own name. A
      function of `**named` takes all that is here.
    stream: of the keys; the name of the value unless said.
    keeps: numbers of positions, rising, one of which `fn` is told as `keep`. Of several, a step
      takes the smallest that holds what is not `hidden` of any example; see `run.Run`.
    exact: whether so many are visible in every example; `fn` may name it.
  """

  fn: Callable[..., Any]
  of: Mapping[str, str] = {}
  stream: str = ""
  keeps: tuple[int, ...] = ()
  exact: bool = False


def takes(value: Value) -> dict[str, bool]:
  """The arguments of a value's function, each with whether it is required.

  One that takes arguments of any name takes those that `of` gives it.
  """
  found = bind.needs(value.fn)
  return found | dict.fromkeys(value.of, True) if bind.takes_any(value.fn) else found


def draws(value: Value) -> bool:
  """Whether a value draws from a stream of its own."""
  return any(one in bind.needs(value.fn) and one not in value.of for one in DRAWS)


def moves(value: Value) -> bool:
  """Whether an argument of a value's function moves over the run, or from example to example."""
  return any(isinstance(one, bind.Moving) for one in getattr(value.fn, "keywords", {}).values())


class Branch(NamedTuple):
  """The same graph with some values given otherwise.

  Attributes:
    values: name → a `Value`; a reference to another value of the graph, as a string; or a constant.
    draws: names of values that are made again with keys of this branch.
  """

  values: Mapping[str, Any] = {}
  draws: tuple[str, ...] = ()


class Address(NamedTuple):
  """Where a value is: in a branch, by name, and a path of fields inside it."""

  branch: str
  name: str
  path: tuple[str, ...] = ()

  @property
  def node(self) -> tuple[str, str]:
    """Without the fields."""
    return self.branch, self.name


class Node(NamedTuple):
  """A value whose arguments are addresses."""

  value: Value
  arguments: Mapping[str, Address]


def literal(value: Any) -> str:
  """An argument that is bound, in few words."""
  if isinstance(value, bind.Moving):
    return "…"
  if isinstance(value, str | int | float | bool) or type(value) is tuple:
    return repr(value)
  return named(value) if callable(value) else type(value).__name__


def text(address: Address) -> str:
  """An address as a reference to it is written."""
  inside = () if address.branch == MAIN else (address.branch,)
  return ".".join((*inside, address.name, *address.path))


def named(fn: Any) -> str:
  """A function by its package and name, as a config has it."""
  fn = getattr(fn, "func", fn)
  module = getattr(fn, "__module__", "") or ""
  home = module.removeprefix("maskjax.").split(".")[0]
  return f"{home}.{fn.__name__}" if module.startswith("maskjax.") else getattr(fn, "__name__", "?")
