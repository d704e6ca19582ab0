"""Reads the sections of a config into a graph of named values, networks and losses."""

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from maskjax import bind, sections
from maskjax.errors import BadInput
from maskjax.over import Over
from maskjax.record import Record
from maskjax.recover import Target
from maskjax.sections import Lengths
from maskjax.task.buckets import kept
from maskjax.task.graph import Branch, Graph, Value
from maskjax.task.networks import MODULE, calls, networks_of
from maskjax.task.run import Run
from maskjax.task.values import base_values, in_place

# What every run of a graph is given, beside networks.
GIVEN = ("batch", "position", "step", "train", "grid", "parts")
OWN = ("of", "stream")  # what the section of a value says beside its arguments
OF_BRANCH = ("draws", "keep")  # what a branch says beside its values
DETACHED = "detached"  # the networks themselves, without gradients
LOSS = "losses."


class Loss(NamedTuple):
  """A loss of the graph: the value `losses.NAME`, and its weight, which may move."""

  name: str
  scale: Any = 1.0


class Parts(NamedTuple):
  """What the sections of a config make.

  Attributes:
    graph: all values.
    over: what a position is.
    modules: networks and functions with parameters, by name.
    frozen: which of them are not trained here.
    losses: in the order of their names.
    teachers: name → `(teacher, params) -> teacher`, called after each step.
    aim: the target as patches, and back.
  """

  graph: Graph
  over: Over
  modules: Mapping[str, nn.Module]
  frozen: Mapping[str, bool]
  losses: tuple[Loss, ...]
  teachers: Mapping[str, functools.partial[Any]]
  aim: Target | None


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
    facts = {"record_shape": self.record.shape}
    self._build({k: v for k, v in named.items() if self.frozen[k]}, facts)
    over = self._over()
    facts = {"record_shape": over.shape or self.record.shape, "patch": over.cell}
    facts |= {"grid": over.grid, "outputs": over.width}
    self._build({k: v for k, v in named.items() if not self.frozen[k]}, facts)
    aim = self._made("target", {"over": over})
    values = base_values(over, self.modules, aim)
    values |= self._grammar(over)
    for name, section in self._section("let").items():
      values[name] = self._value(name, section)
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
    return Parts(graph, over, self.modules, self.frozen, tuple(losses), teachers, aim)

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
    facts = {
      "classes": self.record.classes,
      "vocabulary": len(self.record.vocabulary),
      "caption": self.record.caption,
      **facts,
    }
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

  def _loss(self, name: str, section: Mapping[str, Any]) -> tuple[Value, Loss]:
    if not sections.is_section(section):
      raise BadInput(f"losses.{name} is a section with fn, got {section!r}")
    rest = {k: v for k, v in section.items() if k != "scale"}
    value = self._value(f"{LOSS}{name}", rest)
    assert isinstance(value, Value)
    scale = sections.argument(section.get("scale", 1.0), self.lengths)
    return value, Loss(name, scale)

  def _branch(
    self, name: str, section: Mapping[str, Any], values: Mapping[str, Any], over: Over
  ) -> Branch:
    made: dict[str, Any] = {}
    for key, own in section.items():
      if key in OF_BRANCH:
        continue
      found = own if own is None else self._value(f"{name}.{key}", own)
      made[key] = self._first(found, "scores") if key == "hidden" and own is not None else found
    seen = values["seen"]
    if "keep" in section:
      keep = section["keep"]
      sizes = (keep,) if isinstance(keep, int) else tuple(sorted(keep))
      made["seen"] = seen._replace(keeps=sizes, exact=False)
    elif made.get("hidden") == "nothing" and seen.keeps:
      made["seen"] = seen._replace(keeps=(math.prod(over.grid),), exact=True)
    return Branch(made, tuple(section.get("draws", ())))
