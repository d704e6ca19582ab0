"""Sections of a config as values of a graph: score, select, the chain of hide, losses, branches."""

import functools
import inspect
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn

from maskjax import bind, sections
from maskjax.errors import BadInput, unknown
from maskjax.over import Over
from maskjax.sections import Lengths
from maskjax.select import Views
from maskjax.task.buckets import kept
from maskjax.task.networks import MODULE, calls
from maskjax.task.node import Branch, Value
from maskjax.task.values import hidden, in_place, nothing, score_values

OWN = ("of", "stream")  # what the section of a value says beside its arguments
OF_LOSS = ("scale", "each", "trains")  # what a loss says beside that
OF_BRANCH = ("draws", "keep")  # what a branch says beside its values
# What a caller of an answer hands over that is no value of the graph.
OF_RUN = ("batch", "key", "step", "keys", "keep")
LOSS, ANSWER = "losses.", "answers."


class Loss(NamedTuple):
  """A loss of the graph: the value `losses.NAME`.

  Attributes:
    name: of its term.
    scale: its weight in the total, which may move; with `each` one for each entry, or one for all.
    each: an argument that gets each entry of a tuple, one after another, and a term for each:
      "NAME/0", "NAME/1", …
    trains: patterns of the parameters that it trains; None, all.
  """

  name: str
  scale: Any = 1.0
  each: str = ""
  trains: tuple[str, ...] | None = None


class Grammar:
  """Reads sections that name functions as values.

  Args:
    config: plain nested dicts.
    lengths: of the run, over which schedules move.
    modules: networks by name, to which functions with parameters are added.
  """

  def __init__(self, config: Mapping[str, Any], lengths: Lengths, modules: dict[str, nn.Module]):
    self.config, self.lengths, self.modules = config, lengths, modules

  def value(self, name: str, section: Any, stream_: str = "") -> Value | str:
    """A value of a section; a string is another value by reference.

    `fn="NAME.METHOD"` of a network is its method, called with values by the names of its arguments.
    """
    if isinstance(section, str):
      return section
    if not sections.is_section(section):
      raise BadInput(
        f"the value {name!r} is a section with fn, or the name of another: {section!r}"
      )
    rest = {k: v for k, v in section.items() if k not in OWN}
    of = dict(section.get("of", {}))
    network, _, method = section["fn"].partition(".")
    if network in self.modules:
      fn = sections.binding(calls(self.modules[network], method), rest, self.lengths)
      return Value(fn, {MODULE: network, **of}, section.get("stream", stream_))
    fn = sections.bound(rest, self.lengths)
    if isinstance(fn.func, type) and issubclass(fn.func, nn.Module):
      module = fn()
      self.modules[name] = module
      fn, of = functools.partial(calls(module)), {MODULE: f"modules.{name}", **of}
    return Value(fn, of, section.get("stream", stream_))

  def words(self, over: Over) -> dict[str, Value | str]:
    """score, select and hide."""
    made: dict[str, Value | str] = {}
    if self.config.get("score"):
      made |= score_values()
      made["score"] = self.value("score", self.config["score"], "mask")
    if self.config.get("select"):
      value = self._first(self.value("hidden", self.config["select"], "mask"), "scores")
      views = gives_views(value)
      made |= {"selected": value, "hidden": Value(hidden)} if views else {"hidden": value}
    else:
      # A value of its own, not another name of `nothing`: callers give a mask in its place.
      made["hidden"] = Value(nothing)
    hide = self.config.get("hide") or ()
    steps = (hide,) if isinstance(hide, Mapping) else tuple(hide)
    if odd := [step for step in steps if not sections.is_section(step)]:
      raise BadInput(f"hide is a section with fn, or several, got {odd[0]!r}")
    at = lambda place: [step for step in steps if step.get("place", "values") == place]
    made |= self._chain(at("values"), "values", over)
    if at("embedded"):
      made |= self._chain(at("embedded"), "embedding", over)
    return made

  def _first(self, value: Value | str, *references: str) -> Value | str:
    """The value with its first arguments, whatever they are called, from these references.

    Those that `of` names are what it says; the others stay where they are.
    """
    if isinstance(value, str):
      return value
    first = [name for name in bind.needs(value.fn) if name != MODULE]
    return value._replace(of={**dict(zip(first, references, strict=False)), **value.of})

  def _chain(self, steps: list[Any], last: str, over: Over) -> dict[str, Value | str]:
    """Hiders of values or of embedded tokens, one after another.

    The last one of values makes `seen`, that of embedded tokens `embedded`; one that drops, `seen`.
    """
    made: dict[str, Value | str] = {}
    inside = last == "embedding"
    for i, section in enumerate(steps):
      rest = {k: v for k, v in section.items() if k not in ("keep", "place", "mask")}
      name, mask = f"hide.{'embedded.' if inside else ''}{i}", section.get("mask", "hidden")
      value = self._first(self.value(name, rest), last, mask)
      if not isinstance(value, Value):
        raise BadInput(f"a hider is a section with fn, got {section!r}")
      if "keep" in bind.needs(value.fn):
        if i + 1 < len(steps):
          raise BadInput("what drops positions comes last in the chain of hide")
        keep = section.get("keep")
        select: Any = self._selects(mask) if keep is None else None
        keeps = kept(keep, select, over.grid)
        return made | {"seen": value._replace(keeps=keeps, exact=keep is None)}
      made[name], last = value, name
    return made | ({"embedded": last} if inside else {"seen": Value(in_place, {"values": last})})

  def _selects(self, mask: str) -> functools.partial[Any]:
    """The function that selects what a mask hides: that of `select`, or the value's own."""
    let = self.config.get("let") or {}
    own = self.config.get("select") if mask == "hidden" else None
    section: Any = own or let.get(mask)
    while isinstance(section, str):
      section = let.get(section)
    if not sections.is_section(section):
      raise BadInput(f"nothing says how many positions {mask!r} leaves: set hide.keep")
    return sections.bound({k: v for k, v in section.items() if k not in OWN}, self.lengths)

  def loss(self, name: str, section: Mapping[str, Any]) -> tuple[Value, Loss]:
    """The value of a loss, and what else its section says."""
    if not sections.is_section(section):
      raise BadInput(f"losses.{name} is a section with fn, got {section!r}")
    rest = {k: v for k, v in section.items() if k not in OF_LOSS}
    value = self.value(f"{LOSS}{name}", rest)
    assert isinstance(value, Value)
    scale = sections.argument(section.get("scale", 1.0), self.lengths)
    each, trains = section.get("each", ""), section.get("trains")
    if each:
      value = value._replace(fn=for_each(value.fn, each))
    patterns = (trains,) if isinstance(trains, str) else trains
    return value, Loss(name, scale, each, None if patterns is None else tuple(patterns))

  def answer(self, name: str, section: Any) -> tuple[Value | str, tuple[str, ...] | None]:
    """The value of an answer, by `fn` or by reference, `value`, and what `takes` says of a caller.

    None where nothing is said: then that is a key, the step and a mask.
    """
    if isinstance(section, str):
      return section, None
    rest, takes = {k: v for k, v in section.items() if k != "takes"}, section.get("takes")
    value = self.value(f"{ANSWER}{name}", rest.get("value", rest))
    return value, None if takes is None else tuple(takes)

  def branch(
    self, name: str, section: Mapping[str, Any], values: Mapping[str, Any], over: Over
  ) -> Branch:
    """The branch of a section; where nothing is hidden, it sees all positions."""
    made: dict[str, Any] = {}
    for key, own in section.items():
      if key in OF_BRANCH:
        continue
      if own is None:
        made[key] = None
        continue
      value = self.value(f"{name}.{key}", own)
      made[key] = self._first(value, "scores") if key == "hidden" else value
    seen = values["seen"]
    if "keep" in section:
      keep = section["keep"]
      sizes = (keep,) if isinstance(keep, int) else tuple(sorted(keep))
      made["seen"] = seen._replace(keeps=sizes, exact=False)
    elif made.get("hidden") == "nothing" and seen.keeps:
      made["seen"] = seen._replace(keeps=(math.prod(over.grid),), exact=True)
    return Branch(made, tuple(section.get("draws", ())))


def gives_views(value: Value | str) -> bool:
  """Whether a selection says that it returns `Views`: what is hidden, and what each view asks."""
  said = "" if isinstance(value, str) else inspect.signature(value.fn).return_annotation
  return said is Views or said == Views.__name__


def for_each(fn: Any, name: str) -> functools.partial[Any]:
  """The function called for each entry of the tuple that an argument is, its results as a tuple.

  Raises:
    BadInput: it takes no such argument.
  """
  takes = bind.needs(fn)
  if name not in takes:
    raise unknown(f"argument of {fn.func.__name__}, which each names,", name, takes)

  def each(**told: Any) -> tuple[Any, ...]:
    entries = told.pop(name)
    return tuple(fn(**{name: entry}, **told) for entry in entries)

  signature = inspect.signature(fn.func)
  keyword = inspect.Parameter.KEYWORD_ONLY
  own = [p.replace(kind=keyword) for p in signature.parameters.values() if p.name in takes]
  each.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
  return functools.partial(each)
