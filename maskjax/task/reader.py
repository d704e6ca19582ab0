"""Reads the sections of a config into a graph of named values, networks and losses."""

import functools
import inspect
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from maskjax import bind, sections
from maskjax.errors import BadInput, unknown
from maskjax.over import Over
from maskjax.record import Record
from maskjax.recover import Target
from maskjax.sections import Lengths
from maskjax.task.buckets import kept
from maskjax.task.graph import Branch, Graph, Value
from maskjax.task.networks import MODULE, calls, networks_of
from maskjax.task.run import Run
from maskjax.task.values import base_values, gates, in_place, score_values

# What every run of a graph is given, beside networks.
GIVEN = ("batch", "position", "step", "train", "grid", "parts")
OF_DATA = ("classes", "vocabulary", "caption")  # what all networks are offered of the data
OWN = ("of", "stream")  # what the section of a value says beside its arguments
OF_LOSS = ("scale", "each", "trains")  # what a loss says beside that
OF_BRANCH = ("draws", "keep")  # what a branch says beside its values
DETACHED = "detached"  # the networks themselves, without gradients
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


class Parts(NamedTuple):
  """What the sections of a config make.

  Attributes:
    graph: all values.
    over: what a position is.
    modules: networks and functions with parameters, by name.
    frozen: which of them are not trained here.
    codecs: those of the frozen ones that are called with whole examples.
    losses: in the order of their names.
    teachers: name → `(teacher, params) -> teacher`, called after each step.
    aim: the target as patches, and back.
    answers: names of those that the config adds.
  """

  graph: Graph
  over: Over
  modules: Mapping[str, nn.Module]
  frozen: Mapping[str, bool]
  codecs: tuple[str, ...]
  losses: tuple[Loss, ...]
  teachers: Mapping[str, functools.partial[Any]]
  aim: Target | None
  answers: tuple[str, ...]


class Reader:
  """Reads the sections of a config into the parts of a task.

  Args:
    config: plain nested dicts.
    record: of the data.
    lengths: of the run, over which schedules move.
  """

  def __init__(self, config: Mapping[str, Any], record: Record, lengths: Lengths):
    self.config, self.record, self.lengths = config, record, lengths
    self.modules: dict[str, nn.Module] = {}
    self.frozen: dict[str, bool] = {}

  def parts(self) -> Parts:
    """All of them.

    Raises:
      BadInput: a section that does not fit the others.
    """
    named = self._named()
    facts: dict[str, Any] = {"record_shape": self.record.shape}
    # Frozen networks that need no more than the data may make what positions are of: codecs.
    needed = lambda fn: {name for name, required in bind.needs(fn).items() if required}
    early = {k for k, fn in named.items() if self.frozen[k] and needed(fn) <= {*facts, *OF_DATA}}
    self._build({k: named[k] for k in named if k in early}, facts)
    over = self._over()
    facts = {"record_shape": over.shape or self.record.shape, "patch": over.cell}
    facts |= {"grid": over.grid, "outputs": over.width}
    self._build({k: named[k] for k in named if k not in early}, facts)
    aim = self._made("target", {"over": over})
    taps = {name: self._inside(address) for name, address in self._section("taps").items()}
    values = base_values(over, self.modules, aim, tuple(taps.values()))
    values |= {name: f"out.taps.{address}" for name, address in taps.items()}
    if found := self._section("gates"):
      by = {self._inside(section["at"]): section["by"] for section in found.values()}
      values["gates"] = gates(by)
      out: Any = values["out"]
      values["out"] = out._replace(of={"gates": "gates"})
    values |= self._grammar(over)
    for name, section in self._section("let").items():
      values[name] = self._value(name, section)
    answers = self._section("answers")
    values |= {f"{ANSWER}{name}": self._value(name, section) for name, section in answers.items()}
    losses = []
    for name, section in self._section("losses").items():
      value, loss = self._loss(name, section)
      values[f"{LOSS}{name}"] = value
      losses.append(loss)
    teachers = {
      name: sections.bound(section, self.lengths)
      for name, section in self._section("teachers").items()
    }
    branches = {
      name: self._branch(name, s, values, over) for name, s in self._section("branches").items()
    }
    functions = [f"modules.{name}" for name in self.modules if name not in named]
    given = (*GIVEN, *named, *functions, *teachers, DETACHED)
    graph = Graph(values, given, branches, outside=[f"{LOSS}{loss.name}" for loss in losses])
    networks = self.modules, self.frozen, tuple(early)
    return Parts(graph, over, *networks, tuple(losses), teachers, aim, tuple(answers))

  def _section(self, name: str) -> Mapping[str, Any]:
    return self.config.get(name) or {}

  def _made(self, name: str, offers: Mapping[str, Any]) -> Any:
    """What the section of a factory makes; None where there is none."""
    section = self.config.get(name)
    if not section:
      return None
    factory = sections.bound(section, self.lengths)
    offers = {"record": self.record, **offers}
    bind.check(factory, offers, f"the section {name!r}")
    return bind.call(factory, offers)

  def _over(self) -> Over:
    if not self.config.get("over"):
      raise BadInput("say what a position is: c.over = dict(fn='over.patches', patch=…)")
    made: Over = self._made("over", self._source_shape())
    return made

  def _source_shape(self) -> dict[str, Any]:
    """The shape of one example of `let.source`, where frozen networks make the field another."""
    section = self._section("let").get("source")
    if not section:
      return {}
    values = {"source": self._value("source", section)}
    graph = Graph(values, ("batch", *self.modules))
    example = jax.ShapeDtypeStruct((1, *self.record.shape), jnp.float32)

    def shown(batch: Any) -> Any:
      networks = networks_of(self.modules, None, key=jax.random.key(0))
      return Run(graph, {"batch": batch, **networks}).take("source")

    made = jax.eval_shape(shown, {self.record.kind: example})
    return {"shape": made[self.record.kind].shape[1:]}

  def _named(self) -> dict[str, functools.partial[Any]]:
    """The bound factories of `model`, one network or several by name."""
    section = self._section("model")
    found = {}
    for name, own in ({"network": section} if sections.is_section(section) else section).items():
      self.frozen[name] = bool(own.get("frozen", False))
      rest = {k: v for k, v in own.items() if k != "frozen"}
      found[name] = sections.bound(rest, self.lengths)
    return found

  def _build(self, bound: Mapping[str, functools.partial[Any]], facts: Mapping[str, Any]) -> None:
    """Builds networks, each after those that its factory names as arguments."""
    left = dict(bound)
    of_data = (self.record.classes, len(self.record.vocabulary), self.record.caption)
    facts = {**dict(zip(OF_DATA, of_data, strict=True)), **facts}
    while left:
      ready = [n for n, fn in left.items() if not (set(bind.needs(fn)) & (set(left) - {n}))]
      if not ready:
        raise BadInput(f"networks that need each other to be built: {', '.join(sorted(left))}")
      for name in ready:
        factory = left.pop(name)
        offers = {**facts, **self.modules}
        bind.check(factory, offers, f"the network {name!r}")
        self.modules[name] = bind.call(factory, offers)

  def _value(self, name: str, section: Any, stream_: str = "") -> Value | str:
    """A value of a section; a string is another value by reference."""
    if isinstance(section, str):
      return section
    if not sections.is_section(section):
      raise BadInput(
        f"the value {name!r} is a section with fn, or the name of another: {section!r}"
      )
    rest = {k: v for k, v in section.items() if k not in OWN}
    of = dict(section.get("of", {}))
    fn = sections.bound(rest, self.lengths)
    if isinstance(fn.func, type) and issubclass(fn.func, nn.Module):
      module = fn()
      self.modules[name] = module
      fn, of = functools.partial(calls(module)), {MODULE: f"modules.{name}", **of}
    return Value(fn, of, section.get("stream", stream_))

  def _grammar(self, over: Over) -> dict[str, Value | str]:
    """score, select and hide."""
    made: dict[str, Value | str] = {}
    if self.config.get("score"):
      made |= score_values()
      made["score"] = self._value("score", self.config["score"], "mask")
    if self.config.get("select"):
      value = self._value("hidden", self.config["select"], "mask")
      made["hidden"] = self._first(value, "scores")
    else:
      made["hidden"] = "nothing"
    hide = self.config.get("hide") or ()
    steps = (hide,) if sections.is_section(hide) else tuple(hide)
    made |= self._chain([s for s in steps if s.get("place", "values") == "values"], over)
    made |= self._embedded([s for s in steps if s.get("place") == "embedded"])
    return made

  def _first(self, value: Value | str, *references: str) -> Value | str:
    """The value with its first arguments, whatever they are called, from these references."""
    if isinstance(value, str):
      return value
    free = [name for name in bind.needs(value.fn) if name not in value.of]
    return value._replace(of={**dict(zip(free, references, strict=False)), **value.of})

  def _chain(self, steps: list[Any], over: Over) -> dict[str, Value | str]:
    """Hiders of values, one after another; the last one makes `seen`."""
    made: dict[str, Value | str] = {}
    last = "values"
    for i, section in enumerate(steps):
      rest = {k: v for k, v in section.items() if k not in ("keep", "place", "mask")}
      name, mask = f"hide.{i}", section.get("mask", "hidden")
      value = self._first(self._value(name, rest), last, mask)
      if not isinstance(value, Value):
        raise BadInput(f"a hider is a section with fn, got {section!r}")
      if "keep" in bind.needs(value.fn):
        if i + 1 < len(steps):
          raise BadInput("what drops positions comes last in the chain of hide")
        keep = section.get("keep")
        select = sections.bound(
          {k: v for k, v in self.config["select"].items() if k not in OWN}, self.lengths
        )
        made["seen"] = value._replace(keeps=kept(keep, select, over.grid), exact=keep is None)
        return made
      made[name], last = value, name
    made["seen"] = Value(in_place, {"values": last})
    return made

  def _embedded(self, steps: list[Any]) -> dict[str, Value | str]:
    """Hiders of embedded tokens: a learned token in their place."""
    made: dict[str, Value | str] = {}
    last = "embedding"
    for i, section in enumerate(steps):
      rest = {k: v for k, v in section.items() if k not in ("place", "mask")}
      name = f"hide.embedded.{i}"
      made[name] = self._first(self._value(name, rest), last, section.get("mask", "hidden"))
      last = name
    if steps:
      made["embedded"] = last
    return made

  def _inside(self, address: str) -> str:
    """An address in the encoder, without its name: the network that taps and gates are for."""
    network, _, rest = address.partition("/")
    if network != "encoder" or "encoder" not in self.modules:
      raise BadInput(f"taps and gates are in the encoder, encoder/LAYER/PLACE, got {address!r}")
    return rest

  def _loss(self, name: str, section: Mapping[str, Any]) -> tuple[Value, Loss]:
    if not sections.is_section(section):
      raise BadInput(f"losses.{name} is a section with fn, got {section!r}")
    rest = {k: v for k, v in section.items() if k not in OF_LOSS}
    value = self._value(f"{LOSS}{name}", rest)
    assert isinstance(value, Value)
    scale = sections.argument(section.get("scale", 1.0), self.lengths)
    each, trains = section.get("each", ""), section.get("trains")
    if each:
      value = value._replace(fn=for_each(value.fn, each))
    patterns = (trains,) if isinstance(trains, str) else trains
    return value, Loss(name, scale, each, None if patterns is None else tuple(patterns))

  def _branch(
    self, name: str, section: Mapping[str, Any], values: Mapping[str, Any], over: Over
  ) -> Branch:
    made: dict[str, Any] = {}
    for key, own in section.items():
      if key in OF_BRANCH:
        continue
      if own is None:
        made[key] = None
        continue
      value = self._value(f"{name}.{key}", own)
      made[key] = self._first(value, "scores") if key == "hidden" else value
    seen = values["seen"]
    if "keep" in section:
      keep = section["keep"]
      sizes = (keep,) if isinstance(keep, int) else tuple(sorted(keep))
      made["seen"] = seen._replace(keeps=sizes, exact=False)
    elif made.get("hidden") == "nothing" and seen.keeps:
      made["seen"] = seen._replace(keeps=(math.prod(over.grid),), exact=True)
    return Branch(made, tuple(section.get("draws", ())))


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
