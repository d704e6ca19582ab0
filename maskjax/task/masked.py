"""The masked task: whatever is a sum of losses over the named values of one graph."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Key

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.keys import stream
from maskjax.record import Record
from maskjax.reduce import Term
from maskjax.sections import Lengths
from maskjax.task.asked import answer_of, told
from maskjax.task.base import FROZEN, TEACHERS, Aux, Batch, Task, Variables, with_learned
from maskjax.task.fitted import fitted, fitting
from maskjax.task.grammar import LOSS, Loss
from maskjax.task.networks import Network, changes_of, learned_of, networks_of, variables_of
from maskjax.task.node import MAIN
from maskjax.task.normalised import NORMALISATION, declared, unknown_of
from maskjax.task.partner import partners
from maskjax.task.prepare import PREPARED
from maskjax.task.reader import DETACHED, Parts, Reader
from maskjax.task.run import Run
from maskjax.task.teacher import copies
from maskjax.task.values import features

STATE, PARTNERS = "state", "other"


def masked(*, config: Mapping[str, Any], record: Record, lengths: Lengths) -> Task:
  r"""A task whose loss is $\sum_t w_t S_t / C_t$ over the losses of a graph of named values.

  The sections of the config make the graph; `launch.py --describe` prints it.

  Args:
    config: plain nested dicts. `over` says what a position is, `input` what it is to the encoder
      where that is another (patches, where frequencies are hidden); `score`, `select` and `hide`
      (one hider or several) what is seen of it; `model` the network, or several by name;
      `target` what is asked back; `losses` by name, each a value with a `scale`; `let` further
      values by name, `branches` the same graph with values given otherwise, `teachers` functions
      `(teacher, learned) -> teacher` of two trees, "params" and the running statistics of the
      networks that learn, which follow these after each step, `answers` what else can be asked,
      `final` the name of the teacher that training comes to, `scalars` values by name that are
      logged. A value about `partners` has a partner drawn for each example.
    record: of the data.
    lengths: of the run, over which schedules move.

  Raises:
    BadInput: a section that names what is not there, or nothing to learn from.
  """
  return Masked(Reader(config, record, lengths).parts(), record).task()


class Masked:
  """The functions of a task over the parts that a config makes."""

  def __init__(self, parts: Parts, record: Record):
    self.parts, self.record = parts, record

  def task(self) -> Task:
    """As the training loop sees it."""
    parts = self.parts
    answers: dict[str, Any] = {}
    if "pictures" in parts.graph.values:
      answers["views"] = self.views
    if "encoder" in parts.modules:
      answers["features"] = self.features
    answers |= {k: answer_of(self, k, takes) for k, takes in parts.answers.items()}
    return Task(
      init=self.init,
      loss=self.loss,
      weights={
        loss.name: loss.scale for loss in parts.losses if not (loss.each or _moves(loss.scale))
      },
      trains={loss.name: loss.trains for loss in parts.losses if loss.trains is not None},
      prepare=self.prepare if parts.teachers or fitting(parts.modules) else None,
      update=self.update if parts.teachers else None,
      coupled=self.coupled,
      **({"pair": self.pair} if self.pairs else {}),
      **({"final": self.final} if parts.final else {}),
      scalars=self.scalars if parts.scalars else None,
      learned=self.learned,
      network=parts.modules.get("encoder", parts.modules.get("network")),
      answers=answers,
      written_out=self.written_out,
      told=told(parts),
    )

  def written_out(self) -> Task:
    """The same task, its networks without loops over layers."""
    modules = {name: _written_out(module) for name, module in self.parts.modules.items()}
    return Masked(self.parts._replace(modules=modules), self.record).task()

  def run(
    self,
    variables: Variables | None,
    batch: Batch,
    key: Key[Array, ""] | None,
    step: Any,
    *,
    train: bool = False,
    keep: int | None = None,
    init: Key[Array, ""] | None = None,
    given: Mapping[str, Any] | None = None,
  ) -> tuple[Run, Mapping[str, Network]]:
    """A run of the graph, and the networks that it calls."""
    parts = self.parts
    networks = networks_of(
      parts.modules, variables, key=init, frozen=parts.frozen, record=self.record
    )
    # Where nothing is drawn examples need no position: a caller may hand over images alone. What
    # draws all the same is refused, as nothing was given.
    placed = {"position": batch["position"]} if "position" in batch else {}
    if key is None and not placed:
      placed = {"position": jnp.arange(len(next(iter(batch.values()))))}
    known = {
      "batch": batch,
      "partners": batch.get(PARTNERS, batch),
      **placed,
      "step": step,
      "train": train,
      "parts": parts.over.parts,
      "over": parts.over,
      "input": parts.input,
      "record": self.record,
      # What values kept after the last step, by their names; none before the first.
      "states": (variables or {}).get(STATE, {}),
      **({"grid": parts.over.grid} if parts.over.grid else {}),
      **parts.facts,
      **(variables or {}).get(PREPARED, {}),
      DETACHED: self._fixed(variables, networks, None),
      **{name: self._fixed(variables, networks, name) for name in parts.teachers},
      **{self._given(name): network for name, network in networks.items()},
    }
    own = {parts.graph.whole(name): value for name, value in (given or {}).items()}
    states = (variables or {}).get(STATE)
    return Run(parts.graph, known, known=own, key=key, states=states, keep=keep), networks

  def init(
    self, key: Key[Array, ""], batch: Batch, prepared: Mapping[str, Any] | None = None
  ) -> Variables:
    """All variables, made by one run of all losses, which may name statistics of the data."""
    size = max((v.keeps[-1] for v in _values(self.parts) if v.keeps), default=None)
    made: Any = {"train": True, "keep": size, "init": key, "given": prepared}
    run, networks = self.run(None, batch, key, 0, **made)
    run.all(self._wanted())
    example = jnp.zeros((1, *self.record.shape))
    examples = dict.fromkeys(self.parts.codecs, example)
    made = variables_of(networks, self.parts.frozen, examples)
    if run.changes:
      made[STATE] = run.changes
    still = [name for name in made.get(FROZEN, {}) if declared(self.parts.modules.get(name))]
    if still and self.record.mean:
      made[NORMALISATION] = {name: unknown_of(self.record) for name in still}
    return self._copied(made)

  def loss(
    self, variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    """The terms of a step, by name."""
    run, networks = self.run(variables, batch, key, step, train=True)
    found = run.all(self._wanted())
    terms: dict[str, Term] = {}
    for loss, made in zip(self.parts.losses, found, strict=False):
      terms |= _terms(loss, made, step)
    changed = changes_of(networks, variables)
    if changed and not self.coupled:
      raise BadInput("a network with running statistics of a batch says so: coupled = True")
    if run.changes:
      changed[STATE] = {**variables[STATE], **run.changes}
    return terms, Aux(variables=changed)

  @functools.cached_property
  def coupled(self) -> bool:
    """Whether a value, or a network that is trained, depends on other examples of its batch."""
    parts = self.parts
    trained = [module for name, module in parts.modules.items() if not parts.frozen.get(name)]
    return any(bind.couples(value.fn) for value in _values(parts)) or any(
      getattr(module, "coupled", False) for module in trained
    )

  @functools.cached_property
  def pairs(self) -> bool:
    """Whether a value is about the partners of examples."""
    nodes = self.parts.graph.nodes.values()
    return any(a.name == "partners" for node in nodes for a in node.arguments.values())

  def pair(self, batch: Batch, key: Key[Array, ""], step: Any) -> Batch:
    """The batch with a partner for each example, drawn from the stream "partner"."""
    return partners(batch, stream(key, "partner", step))

  def update(self, variables: Variables, step: Any) -> Variables:
    """Every teacher after a step."""
    old, own = variables[TEACHERS], self.learned(variables)
    follow = {name: bind.at(fn, step) for name, fn in self.parts.teachers.items()}
    return {**variables, TEACHERS: {name: fn(old[name], own) for name, fn in follow.items()}}

  def prepare(self, variables: Variables, batches: Any) -> Variables:
    """What is fitted is; teachers begin as the parameters do, also what `init_from` brings."""
    if fits := fitting(self.parts.modules):
      variables = fitted(fits, variables, batches, self.record.kind)
    return self._copied(variables)

  def final(self, variables: Variables) -> Variables:
    """The variables with the networks of one teacher, without any teacher."""
    rest = {name: value for name, value in variables.items() if name != TEACHERS}
    return with_learned(rest, variables.get(TEACHERS, {}).get(self.parts.final, {}))

  def learned(self, variables: Variables) -> Variables:
    """The networks that learn: their parameters and their running statistics."""
    return learned_of(self.parts.modules, variables, self.parts.frozen)

  def scalars(self, variables: Variables, step: Any) -> Mapping[str, Array]:
    """What values of the variables and the step alone are."""
    run, _ = self.run(variables, {"position": jnp.zeros(0, jnp.int32)}, None, step)
    return dict(zip(self.parts.scalars, run.all(self.parts.scalars.values()), strict=True))

  def features(
    self,
    variables: Variables,
    batch: Batch,
    hidden: Bool[Array, "b n"] | None = None,
    keep: int | None = None,
  ) -> Mapping[str, Array]:
    """Of the encoder: "tokens", their "mean", and "class"; of what is left to see.

    `keep` promises that no more positions are visible: no others are computed.
    """
    run, _ = self.run(variables, batch, None, 0, keep=keep or self.whole())
    gone = run.take("nothing") if hidden is None else hidden
    return features(run.ask("out", hidden=gone))

  def views(
    self,
    variables: Variables,
    batch: Batch,
    key: Key[Array, ""],
    step: Any = 0,
    hidden: Bool[Array, "b n"] | None = None,
  ) -> Mapping[str, Array]:
    """What pictures are made from, see `maskjax.task.pictures.pictures`."""
    own = {} if hidden is None else {"hidden": hidden}
    keep = None if hidden is None else self.whole()
    run, _ = self.run(variables, batch, key, step, keep=keep, given=own)
    shown: Mapping[str, Array] = run.take("pictures")
    return shown

  def _wanted(self) -> list[str]:
    """What a step makes: all losses, and all values that keep a state."""
    keeping = [
      name if branch == MAIN else f"{branch}.{name}"
      for (branch, name), node in self.parts.graph.nodes.items()
      if "state" in bind.needs(node.value.fn)
    ]
    if not self.parts.losses and not keeping:
      raise BadInput("the config has neither losses nor values with a state: nothing would happen")
    return [*(f"{LOSS}{loss.name}" for loss in self.parts.losses), *keeping]

  def whole(self) -> int:
    """The number of positions."""
    return math.prod(self.parts.over.grid)

  def _given(self, name: str) -> str:
    return name if name in self.parts.frozen else f"modules.{name}"

  def _fixed(
    self, variables: Variables | None, networks: Mapping[str, Network], teacher: str | None
  ) -> Mapping[str, Network]:
    """The networks with the parameters of a teacher, or their own, through which nothing learns.

    The networks themselves where training came to a teacher, whose parameters are then theirs.
    """
    if variables is None or (teacher is not None and TEACHERS not in variables):
      return networks
    own = {} if teacher is None else variables[TEACHERS][teacher]
    taught = with_learned(variables, own)
    return networks_of(
      self.parts.modules, taught, frozen=self.parts.frozen, fixed=True, record=self.record
    )

  def _copied(self, variables: Variables) -> Variables:
    if not self.parts.teachers:
      return variables
    # Their own buffers: the train step gives its state's memory away.
    return {**variables, TEACHERS: copies(self.learned(variables), tuple(self.parts.teachers))}


def _terms(loss: Loss, made: Any, step: Any) -> dict[str, Term]:
  """The terms of one loss; weights that move, or are of one entry of several, are inside."""
  if not loss.each:
    return {loss.name: _scaled(made, loss.scale, step) if _moves(loss.scale) else made}
  scales = loss.scale if isinstance(loss.scale, tuple) else (loss.scale,) * len(made)
  if len(scales) != len(made):
    raise BadInput(f"losses.{loss.name} has {len(made)} entries, and scale {len(scales)}")
  pairs = zip(made, scales, strict=True)
  return {f"{loss.name}/{i}": _scaled(term, scale, step) for i, (term, scale) in enumerate(pairs)}


def _scaled(term: Term, scale: Any, step: Any) -> Term:
  return Term(term.sum * bind.now(scale, step), term.count)


def _moves(value: Any) -> bool:
  return isinstance(value, bind.Moving)


def _values(parts: Parts) -> list[Any]:
  return [node.value for node in parts.graph.nodes.values()]


def _written_out(module: nn.Module) -> nn.Module:
  """A module that is not `scan` nor `remat`, nor are those in its fields."""
  changes: dict[str, Any] = {}
  for field in dataclasses.fields(module):
    value = getattr(module, field.name, None)
    if field.name in ("scan", "remat") and value:
      changes[field.name] = False
    elif isinstance(value, nn.Module) and field.name != "parent":
      changes[field.name] = _written_out(value)
  return module.clone(**changes)
