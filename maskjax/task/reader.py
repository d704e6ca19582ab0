"""Reads the sections of a config into a graph of named values, networks and losses."""

import functools
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple, get_origin

import flax.linen as nn
import jax
import jax.numpy as jnp

from maskjax import bind, sections
from maskjax.errors import BadInput, unknown
from maskjax.over import Over
from maskjax.record import Record
from maskjax.recover import Target
from maskjax.sections import Lengths
from maskjax.task.entering import entering
from maskjax.task.grammar import ANSWER, LOSS, OF_RUN, Grammar, Loss
from maskjax.task.graph import Graph
from maskjax.task.inside import TOLD, inside
from maskjax.task.networks import networks_of
from maskjax.task.node import MAIN
from maskjax.task.run import Run
from maskjax.task.values import base_values, picture_values

# What every run of a graph is given, beside networks.
GIVEN = (
  "batch", "partners", "position", "step", "train", "grid", "parts", "over", "input", "record",
  "states",
)  # fmt: skip
OF_DATA = ("classes", "vocabulary", "caption", "mean", "std")  # of the data, for all networks
DETACHED = "detached"  # the networks themselves, without gradients


class Parts(NamedTuple):
  """What the sections of a config make.

  Attributes:
    graph: all values.
    over: what a position is.
    input: what it is to the encoder; the same, unless the config has an `input`.
    modules: networks and functions with parameters, by name.
    frozen: which of them are not trained here.
    codecs: those of the frozen ones that are called with whole examples.
    losses: in the order of their names.
    teachers: name → `(teacher, params) -> teacher`, called after each step.
    aim: the target as patches, and back.
    answers: those that the config adds: name → what a caller hands over after the batch; None
      where that is a key, the step and a mask.
    final: the teacher that training comes to; "" where it comes to the parameters themselves.
    scalars: name → a value that depends on the variables and the step alone.
    facts: what is known of the data and the run, values of the graph by name.
  """

  graph: Graph
  over: Over
  input: Over
  modules: Mapping[str, nn.Module]
  frozen: Mapping[str, bool]
  codecs: tuple[str, ...]
  losses: tuple[Loss, ...]
  teachers: Mapping[str, functools.partial[Any]]
  aim: Target | None
  answers: Mapping[str, tuple[str, ...] | None]
  final: str
  scalars: Mapping[str, str]
  facts: Mapping[str, Any]


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
    self.grammar = Grammar(config, lengths, self.modules)

  def parts(self) -> Parts:
    """All of them.

    Raises:
      BadInput: a section that does not fit the others.
    """
    named = self._named()
    early = self._codecs(named)
    over = self._over()
    own = self._made("input", self._source_shape())
    facts = _facts(own or over, self.record)
    self._build({k: named[k] for k in named if k not in early}, facts)
    aim = self._made("target", {"over": over})
    values = self._values(over, aim, own is not None)
    answers = {}
    for name, section in self._section("answers").items():
      values[f"{ANSWER}{name}"], answers[name] = self.grammar.answer(name, section)
    losses = []
    for name, section in self._section("losses").items():
      values[f"{LOSS}{name}"], loss = self.grammar.loss(name, section)
      losses.append(loss)
    values = inside(values, self._section("taps"), self._section("gates"), self.modules)
    bound = lambda section: sections.bound(section, self.lengths)
    teachers = {name: bound(section) for name, section in self._section("teachers").items()}
    branches = {
      name: self.grammar.branch(name, section, values, over)
      for name, section in self._section("branches").items()
    }
    of_run = {"vocabulary": len(self.record.vocabulary), "batch_size": self.config["batch_size"]}
    functions = [f"modules.{name}" for name in self.modules if name not in named]
    # What callers of answers hand over may have any name.
    handed = [name for takes in answers.values() for name in takes or () if name not in OF_RUN]
    given = [*named, *functions, *teachers, DETACHED]
    known = (*GIVEN, *of_run, *handed, *self._section("prepare"))
    given += [name for name in known if name not in {*values, *given}]
    outside = [f"{told}{LOSS}{loss.name}" for loss in losses for told in ("", TOLD)]
    graph = Graph(values, dict.fromkeys(given), branches, outside)
    self._check(graph, teachers)
    networks = self.modules, self.frozen, early
    learned = tuple(losses), teachers, aim
    ends = self.config.get("final") or "", self._section("scalars")
    return Parts(graph, over, own or over, *networks, *learned, answers, *ends, of_run)

  def _codecs(self, named: Mapping[str, functools.partial[Any]]) -> tuple[str, ...]:
    """Builds the frozen networks that need no more than the data: positions may be of their codes.

    Returns:
      Their names.
    """
    facts = {"record_shape": self.record.shape}
    needed = lambda fn: {name for name, required in bind.needs(fn).items() if required}
    known = {*facts, *OF_DATA}
    early = tuple(k for k, fn in named.items() if self.frozen[k] and needed(fn) <= known)
    self._build({k: named[k] for k in early}, facts)
    return early

  def _values(self, over: Over, aim: Target | None, enters: bool) -> dict[str, Any]:
    """All values but answers and losses; `enters` says that the encoder's positions are others."""
    values = base_values(over, self.modules, aim) | self.grammar.words(over)
    if enters:
      values |= entering(values["seen"], self.modules)
    for name, section in self._section("let").items():
      values[name] = self.grammar.value(name, section)
    return picture_values(aim) | values if over.shape and "prediction" in values else values

  def _check(self, graph: Graph, teachers: Mapping[str, Any]) -> None:
    """What the sections name that are about the whole graph is there."""
    self._check_carried(graph)
    if (final := self.config.get("final")) and final not in teachers:
      raise unknown("teacher that training comes to, final,", final, teachers)
    for reference in self._section("scalars").values():
      graph.address(reference)

  def _check_carried(self, graph: Graph) -> None:
    """A mask that the last hider hands on beside the values is read by a loss."""
    hide = self.config.get("hide") or ()
    steps = (hide,) if sections.is_section(hide) else tuple(hide)
    said = inspect.signature(sections.find(steps[-1]["fn"])).return_annotation if steps else None
    if get_origin(said) is not tuple:
      return
    read, todo = set(), [(MAIN, f"{LOSS}{name}") for name in self._section("losses")]
    behind = set(todo)
    while todo:
      node = graph.nodes.get(todo.pop())
      for address in node.arguments.values() if node else ():
        read |= {address.path[:1]} if address.name == "seen" else set()
        todo += [address.node] if address.node not in behind else []
        behind.add(address.node)
    if read == {("values",)}:
      name = steps[-1]["fn"]
      raise BadInput(f"{name} hands on a mask beside the values, and no loss reads seen.hidden")

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
    """The shapes of one example of `let.source`, where frozen networks make fields others."""
    section = self._section("let").get("source")
    if not section:
      return {}
    values = {"source": self.grammar.value("source", section)}
    graph = Graph(values, ("batch", *self.modules))
    example = jax.ShapeDtypeStruct((1, *self.record.shape), jnp.float32)

    def shown(batch: Any) -> Any:
      networks = networks_of(self.modules, None, key=jax.random.key(0))
      return Run(graph, {"batch": batch, **networks}).take("source")

    made = jax.eval_shape(shown, {self.record.kind: example})
    shapes = {field: x.shape[1:] for field, x in made.items()}
    return {"shape": shapes[self.record.kind], "shapes": shapes}

  def _named(self) -> dict[str, functools.partial[Any]]:
    """The bound factories of `model`, one network or several by name."""
    section = self._section("model")
    found = {}
    for name, own in ({"network": section} if sections.is_section(section) else section).items():
      if not isinstance(own, Mapping):
        raise BadInput(f"model.{name} is a section with fn, got {own!r}")
      self.frozen[name] = bool(own.get("frozen", False))
      rest = {k: v for k, v in own.items() if k != "frozen"}
      found[name] = sections.bound(rest, self.lengths)
    return found

  def _build(self, bound: Mapping[str, functools.partial[Any]], facts: Mapping[str, Any]) -> None:
    """Builds networks, each after those that its factory names as arguments."""
    left = dict(bound)
    record = self.record
    of_data = record.classes, len(record.vocabulary), record.caption, record.mean, record.std
    facts = {**dict(zip(OF_DATA, of_data, strict=True)), **facts}
    while left:
      ready = [n for n, fn in left.items() if not (set(bind.needs(fn)) & (set(left) - {n}))]
      if not ready:
        raise BadInput(f"networks that need each other to be built: {', '.join(sorted(left))}")
      for name in ready:
        factory = left.pop(name)
        # Of other networks what a factory asks for, not what happens to be called as an option.
        asked = {n: one for n, one in self.modules.items() if bind.needs(factory).get(n)}
        offers = {**facts, **asked}
        bind.check(factory, offers, f"the network {name!r}")
        self.modules[name] = bind.call(factory, offers)


def _facts(over: Over, record: Record) -> dict[str, Any]:
  """What the factories of networks may name of the positions."""
  return {
    "record_shape": over.shape or record.shape,
    "patch": over.cell,
    "grid": over.grid,
    "outputs": over.width,
    "shapes": {name: (one.shape, one.classes) for name, one in over.fields.items()},
    "cells": {name: one.cell for name, one in over.fields.items()},
  }
