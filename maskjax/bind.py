"""Names in a config become functions: hyperparameters bind first, arrays come later."""

import contextlib
import contextvars
import dataclasses
import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, TypeVar

import jax
from jaxtyping import Array, Key

from maskjax.errors import BadInput, unknown
from maskjax.keys import stream

# Packages that may be imported by name, None for all.
_trusted: contextvars.ContextVar[tuple[str, ...] | None]
_trusted = contextvars.ContextVar("trusted", default=None)
Function = TypeVar("Function", bound=Callable[..., Any])


def resolve(name: str, home: str) -> Callable[..., Any]:
  """The function `name` of the package `home`, or of any when written "package.module:name".

  Raises:
    BadInput: there is none; the nearest public name of `home` is given.

  >>> resolve("top", "maskjax.select").__name__
  'top'
  >>> resolve("math:sqrt", "maskjax.select")(4)
  2.0
  """
  module, _, attribute = name.rpartition(":")
  owner = imported(module or home, f"fn={name!r}")
  found, public = getattr(owner, attribute, None), _public(owner)
  if not callable(found) or (not module and attribute not in public):
    raise unknown(f"function of {owner.__name__}", attribute, public)
  return found


def _public(owner: ModuleType) -> list[str]:
  """What a module exports; where it does not say, its own functions."""
  own = lambda name, x: name[0] != "_" and getattr(x, "__module__", "") == owner.__name__
  return [*getattr(owner, "__all__", (name for name, x in vars(owner).items() if own(name, x)))]


@contextlib.contextmanager
def trusting(packages: Iterable[str]) -> Iterator[None]:
  """Imports by name nothing but maskjax and these packages: for configs that a stranger wrote.

  >>> with trusting(()):  # doctest: +ELLIPSIS
  ...   resolve("os:system", "maskjax.select")
  Traceback (most recent call last):
  maskjax.errors.BadInput: fn='os:system' would import 'os', which is not trusted: see ...
  """
  token = _trusted.set((*packages, "maskjax"))
  try:
    yield
  finally:
    _trusted.reset(token)


def imported(module: str, by: str) -> ModuleType:
  """The module of this name, for whoever names it: `by`.

  Raises:
    BadInput: there is none, or it is not trusted, see `trusting`.
  """
  package, trusted = module.partition(".")[0], _trusted.get()
  if trusted is not None and package not in trusted:
    cure = f"trust={(package,)}, --trust={package}"
    raise BadInput(f"{by} would import {package!r}, which is not trusted: see {cure}")
  try:
    return importlib.import_module(module)
  except ModuleNotFoundError as error:
    raise BadInput(f"cannot import {error.name!r}, named by {by}") from error


def bind(spec: Mapping[str, Any], home: str) -> functools.partial:
  """Binds a config section `{"fn": name, **hyperparameters}`; what is unbound is given at the call.

  Raises:
    BadInput: no such function, or a hyperparameter that it does not take.

  >>> bind({"fn": "top", "ratio": 0.5}, "maskjax.select").keywords
  {'ratio': 0.5}
  """
  spec = dict(spec)
  if "fn" not in spec:
    raise BadInput(f"a section for {home} names its function as fn=…; it has {sorted(spec)}")
  name = spec.pop("fn")
  if not isinstance(name, str):
    raise BadInput(f"fn of a section for {home} is a function's name, got {name!r}")
  fn = resolve(name, home)
  takes = inspect.signature(fn).parameters
  if not any(p.kind is p.VAR_KEYWORD for p in takes.values()):
    for key in spec:
      if key not in takes:
        raise unknown(f"argument of {name}", key, takes)
  return functools.partial(fn, **spec)


def least(**sizes: Any) -> Callable[[Function], Function]:
  """Declares the smallest sizes of a function that makes a network: widths and depths, no geometry.

  A smoke run sets them, see `smoke`; grids, patches, vocabularies and numbers of codes are
  not among them, so that masks stay those of the real run.

  >>> make = least(width=8)(lambda width=256: width)
  >>> make(**make.least)
  8
  """

  def declare(fn: Function) -> Function:
    fn.least = sizes  # type: ignore[attr-defined]
    return fn

  return declare


def paced(steps: str = "") -> Callable[[Function], Function]:
  """Declares that arguments of a function do not move over the run: it moves them over its steps.

  Args:
    steps: the argument that says how many steps there are; "" of a function that has none, and
      refuses schedules by itself.

  >>> paced("steps")(lambda steps=8: steps).pace
  'steps'
  """

  def declare(fn: Function) -> Function:
    fn.pace = steps  # type: ignore[attr-defined]
    return fn

  return declare


def coupled(fn: Function) -> Function:
  """Declares that what a function gives for an example depends on others of its batch.

  The parts of a batch that devices hold reach each other by `reduce.combine`, microbatches cannot:
  a task with such a part refuses them.
  """
  fn.coupled = True  # type: ignore[attr-defined]
  return fn


def examples(*, takes: str = "", gives: str | None = None) -> Callable[[Function], Function]:
  """Declares which argument of a network's method is examples as data have them, and which result.

  A frozen network gets these normalised as in its own training, see `task.normalised`.

  Args:
    takes: name of the first argument, where that is examples.
    gives: the field of the result that is such, "" for the result itself.

  >>> examples(takes="image", gives="")(lambda image: image).examples
  ('image', '')
  """

  def declare(fn: Function) -> Function:
    fn.examples = takes, gives  # type: ignore[attr-defined]
    return fn

  return declare


def couples(bound: Callable[..., Any]) -> bool:
  """Whether a function, or one that is bound to it, was declared as `coupled`, or keeps a state.

  >>> couples(functools.partial(coupled(lambda x: x)))
  True
  """
  parts = [bound, getattr(bound, "func", None), *getattr(bound, "keywords", {}).values()]
  return "state" in needs(bound) or any(getattr(part, "coupled", False) for part in parts)


def needs(bound: Callable[..., Any]) -> dict[str, bool]:
  """The arguments still to be given to a bound function, each with whether it is required.

  >>> needs(bind({"fn": "uniform"}, "maskjax.score"))
  {'keys': True, 'grid': True}
  """
  keywords = getattr(bound, "keywords", {})
  wanted = inspect.signature(getattr(bound, "func", bound)).parameters.values()
  named = [p for p in wanted if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
  return {p.name: p.default is p.empty for p in named if p.name not in keywords}


def takes_any(bound: Callable[..., Any]) -> bool:
  """Whether a function takes arguments of any name.

  >>> takes_any(lambda x, **more: x), takes_any(lambda x: x)
  (True, False)
  """
  wanted = inspect.signature(getattr(bound, "func", bound)).parameters.values()
  return any(p.kind is p.VAR_KEYWORD for p in wanted)


def check(bound: Callable[..., Any], offers: Iterable[str], who: str) -> None:
  """Makes sure that `who` offers everything that a bound function needs (contract 6).

  Raises:
    BadInput: naming what is needed and what is offered.
  """
  offers = set(offers)
  missing = [name for name, required in needs(bound).items() if required and name not in offers]
  if missing:
    name = getattr(bound, "func", bound).__name__
    raise BadInput(f"{name} needs {', '.join(missing)}; {who} offers {', '.join(sorted(offers))}")


def call(bound: Callable[..., Any], offers: Mapping[str, Any], *args: Any) -> Any:
  """Calls a bound function with `args` first, and with those of the offers that it names."""
  return bound(*args, **{name: offers[name] for name in needs(bound) if name in offers})


@dataclasses.dataclass(frozen=True)
class Moving:
  """An argument that moves over a run or from example to example: a ratio, a temperature, a weight.

  Attributes:
    value: `step -> value`, where the step may be traced.
    each: whether `value` takes a number from [0, 1) drawn for each example, not the step.
  """

  value: Callable[[Any], Any]
  each: bool = False


def at(
  bound: functools.partial, step: Any, keys: Key[Array, "*b"] | None = None
) -> functools.partial:
  """The bound function with every moving argument at its value of this step.

  Those of each example are drawn with its key, each argument apart from the others.

  Raises:
    BadInput: an argument is to be drawn for each example, and there are no keys.

  >>> half = Moving(lambda step: 0.5 * step)
  >>> at(functools.partial(dict, ratio=half, fixed=1), 3)()
  {'ratio': 1.5, 'fixed': 1}
  """
  moved = {k: now(v, step, keys, k) for k, v in bound.keywords.items() if isinstance(v, Moving)}
  return functools.partial(bound, **moved) if moved else bound


def now(value: Any, step: Any, keys: Key[Array, "*b"] | None = None, name: str = "") -> Any:
  """A moving value at this step; any other as it is. See `at`.

  >>> now(Moving(lambda step: 0.5 * step), 3), now(0.1, 3)
  (1.5, 0.1)
  """
  if not isinstance(value, Moving):
    return value
  if not value.each:
    return value.value(step)
  if keys is None:
    raise BadInput(f"{name or 'a value'} is to be drawn for each example: here that cannot be")
  draw = lambda key: jax.random.uniform(stream(key, name))
  return value.value(jax.vmap(draw)(keys.reshape(-1)).reshape(keys.shape))
