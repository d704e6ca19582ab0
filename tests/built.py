"""What a config builds, at the least size that keeps its geometry: for all tests of methods.

`built("mae")` of conftest.py makes the task of a config and runs it once, in one program; tests
read what came out. Runs of a graph are watched, so that what selections and scores gave is seen.
"""

import functools
import math
import pathlib
from collections.abc import Mapping
from itertools import count, repeat
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from drawn import initial, traced
from vectors import RULES, Vectors, vectors

from maskjax import lab, weights
from maskjax.data import tiny
from maskjax.smoke import smoke
from maskjax.task.base import Task
from maskjax.task.node import MAIN, named
from maskjax.task.prepare import Examples
from maskjax.task.run import Run
from maskjax.train.run import plain
from maskjax.train.setup.build import make_optimizer, make_task, run_lengths
from maskjax.train.state import State, init_opt_state, with_held
from maskjax.train.step import make_step
from maskjax.weights.held import Held

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
FILES = {p.stem: p for p in sorted(CONFIGS.rglob("*.py")) if not p.name.startswith("_")}
EXAMPLES, SEED, INIT = 8, 3, 1
# What values that hide are called: of several views, what is asked too; of two cuts of one ranking.
HIDDEN = ("hidden", "selected", "chosen", "dropped", "asked")
# Arguments worth telling beside what a function returned.
TOLD = ("loss", "alpha")
# A collection of variables that a loss leaves what it was told in.
SAID = "said"
# Packages whose functions' values are worth looking at.
WATCHED = ("score", "select", "hide")


class Watch:
  """Collects the values of runs that selections, scores and hiders make, and what they were told.

  Of what a value's function was told those that `TOLD` names.
  """

  def __init__(self) -> None:
    self.seen: list[tuple[str, Any]] | None = None
    make = Run._made

    @functools.wraps(make)
    def made(run: Run, place: Any, node: Any) -> Any:
      result = make(run, place, node)
      package = named(node.value.fn).split(".")[0]
      # What is made inside a bucket cannot leave it this way, nor a value that is a function.
      looked = package in WATCHED and not callable(result)
      if self.seen is not None and looked and run.inside is None:
        name = node_name(*place)
        self.seen.append((name, result))
        told = {k: run._at(address) for k, address in node.arguments.items()}
        drawn = lambda: run._keys(place[0], node.value.stream or place[1])
        told |= getattr(run._moved(node.value.fn, drawn), "keywords", {})
        self.seen += [(f"{name}.{k}", v) for k, v in told.items() if k in TOLD]
      return result

    Run._made = made  # type: ignore[method-assign]


def node_name(branch: str, name: str) -> str:
  """A value as a reference to it is written."""
  return name if branch == MAIN else f"{branch}.{name}"


watch = Watch()


class Trained(NamedTuple):
  """What a few steps of training give; what is "at each step" has a leading axis of three.

  Attributes:
    state: after the last step.
    metrics: of each step.
    masks: the masks and gates of each step's loss.
    held: after each step, which weights an optimiser holds; None without one that does.
    zero: after each step, which weights learned masks hide; None without such masks.
  """

  state: State
  metrics: Mapping[str, np.ndarray]
  masks: dict[str, np.ndarray]
  held: Any
  zero: Any


class Built:
  """A config, or one of its stages as "NAME/STAGE", at smoke size on tiny data.

  Attributes:
    config: plain nested dicts, after `change`.
    record, batch: tiny data of eight examples; of one graph, of two videos at the paper's scale.
    task: what the config describes.
    total_steps: length of its run.
    seed: of the key that the masks of `said` come from.
  """

  seed = SEED

  def __init__(self, name: str, preset: str = "", change: Any = None):
    name, _, stage = name.partition("/")
    module = lab.load(FILES[name])
    config = module.get_config(preset) if preset else module.get_config()
    config = config.stages[stage] if stage else config
    note = module.NOTE
    small = smoke(config, **note.get("smoke", {}) if preset else {})
    if change is not None:
      with small.ignore_type():
        change(small)
    self.config = plain(small)
    scale = note.get("laptop", note["scale"]) if preset else note["scale"]
    # As many steps an epoch as the real batch takes.
    examples = math.ceil(scale["examples"] * small.batch_size / config.batch_size)
    self.scale = {**tiny.fitted(scale, self.config["data"]), "examples": examples}
    self.record = tiny.record(self.scale, self.config["data"].get("train", "train"))
    size = {"graph": 1, "video": EXAMPLES if preset else 2}.get(self.record.kind, EXAMPLES)
    self.batch = {k: jax.device_put(v) for k, v in tiny.batch(self.scale, size).items()}
    self.task: Task = make_task(self.config, self.record)
    self.total_steps = run_lengths(self.config, self.record).total_steps
    self.lengths = {"batch_size": self.config["batch_size"], "examples": examples}
    half = max(self.total_steps // 2 - 1, 0)
    self.steps = np.array([0, half, self.total_steps - 1], np.int32)

  @functools.cached_property
  def _init(self) -> Any:
    return traced(self.task.init, jax.random.key(INIT), self.batch)

  @property
  def shapes(self) -> Any:
    """The variables, by shape."""
    return self._init[1]

  @functools.cached_property
  def optimizer(self) -> Any:
    """The optimiser of the config, with what holds weights."""
    return make_optimizer(self.config, self.shapes["params"], self.total_steps, **self.lengths)

  @functools.cached_property
  def vectors(self) -> Vectors:
    """How the parameters lie while a few steps are trained: as they are, if they are held."""
    shapes, made = self.shapes["params"], self.optimizer
    if self.config.get("hold") or self.config["optimizer"]["fn"] not in RULES:
      return Vectors(lambda tree: tree, lambda tree: tree, {})
    return vectors(shapes, made.rates, made.decays)

  def hide(self, variables: Any, batch: Any, key: Any, step: Any) -> dict[str, Any]:
    """What scores, selections and hiders make in the loss of a step, by the names of these values.

    Also what they were told: "score.loss", "hide.alpha".
    """
    return self.terms(variables, batch, key, step)[1]

  def terms(self, variables: Any, batch: Any, key: Any, step: Any) -> tuple[Any, dict[str, Any]]:
    """The terms of a step's loss, and what `hide` finds in it."""
    terms, aux = self._told(variables, self.task.pair(batch, key, step), key, step)
    return terms, aux.variables[SAID]

  def _told(self, variables: Any, batch: Any, key: Any, step: Any) -> Any:
    """The loss of the task, which puts what it was told among the variables."""
    watch.seen = []
    try:
      terms, aux = self.task.loss(variables, batch, key, step)
      found = dict(watch.seen)
    finally:
      watch.seen = None
    return terms, aux._replace(variables={**aux.variables, SAID: found})

  @functools.cached_property
  def said(self) -> dict[str, Any]:
    """What `hide` finds at `steps`, with a leading axis of three, from variables as initialised.

    One program; what it does not depend on (most networks, mostly) is not compiled.
    """

    def at(variables: Any, batch: Any, steps: Any) -> Any:
      return jax.lax.map(lambda s: self.hide(variables, batch, jax.random.key(self.seed), s), steps)

    return jax.device_get(jax.jit(at)(self.initial, self.batch, self.steps))

  @functools.cached_property
  def masks(self) -> dict[str, np.ndarray]:
    """The masks and gates among what is said; a context and its targets are two of one name."""
    return hiding(self.said)

  @functools.cached_property
  def initial(self) -> Any:
    """Variables of the shapes and magnitudes that a run begins with, drawn by numpy."""
    return initial(*self._init, (jax.random.key(INIT), self.batch), INIT, self.task.learned)

  @functools.cached_property
  def variables(self) -> Any:
    """The variables as a run has them before step 0, statistics over the tiny batch included."""
    if self.task.prepare is None:
      return self.initial
    batches = ({**self.batch, "position": self.batch["position"] + i} for i in count(0, EXAMPLES))
    return self.task.prepare(self.initial, Examples(batches, lambda data: repeat(self.batch)))

  @functools.cached_property
  def trained(self) -> Trained:
    """A step at each of `steps`, one after another, in one program, of `vectors`."""
    join, split, rules = self.vectors
    config = {**self.config, "optimizer": {**self.config["optimizer"], **rules}}
    whole = jax.eval_shape(join, self.shapes["params"])
    optimizer = make_optimizer(config, whole, self.total_steps, **self.lengths)
    tx, ema = optimizer.tx, self.config.get("ema", 0.0)
    batch = {k: v[: self.config["batch_size"]] for k, v in self.batch.items()}
    apart = lambda v: {**v, "params": split(v["params"])}
    update = self.task.update and (lambda v, step: self.task.update(apart(v), step))
    told = self.task.gradients and (
      lambda found, v, step: join(self.task.gradients(split(found), apart(v), step))
    )
    own = lambda v: self.task.learned({k: x for k, x in v.items() if k != SAID})
    loss = lambda v, *rest: self._told(apart(v), *rest)
    task = self.task._replace(loss=loss, gradients=told, update=update, learned=own)
    step = make_step(task, tx, ema=ema, held=optimizer.held)

    def one(state: State, batch: Any, at: Any) -> Any:
      state, metrics = step(_moved(state, at), batch)
      variables = dict(state.variables)
      masks = hiding(variables.pop(SAID))
      state = state._replace(variables=variables)
      held = weights.masks(state.opt_state) if self.config.get("hold") else None
      zero = None
      if self.config.get("reparametrize"):
        zero = jax.tree.map(lambda x: x == 0, self.task.final(apart(variables))["params"])
      return state, (metrics, masks, held, zero)

    def run(variables: Any, batch: Any, steps: Any) -> Any:
      variables = {**variables, "params": join(variables["params"])}
      opt_state = init_opt_state(tx, variables)
      variables = with_held(variables, opt_state)
      average = own(variables) if ema else {}
      state = State(jnp.int32(0), jax.random.key(0), variables, opt_state, average)
      state, rest = jax.lax.scan(lambda state, at: one(state, batch, at), state, steps)
      return state._replace(variables=apart(state.variables)), rest

    state, rest = jax.device_get(jax.jit(run)(self.variables, batch, self.steps))
    return Trained(state, *rest)

  def stepped(self, draw: Any, batch: Any, count: int) -> tuple[list[float], dict[str, Any]]:
    """Steps of training on one batch from given parameters, as another implementation takes them.

    `draw(name, shape)` gives the parameters. Returns the loss of each step, and by how much each
    parameter, by its name, moved in all.
    """
    name = lambda path: jax.tree_util.keystr(path, simple=True, separator="/")
    value = lambda path, leaf: jnp.asarray(draw(name(path), leaf.shape), leaf.dtype)
    params = jax.tree_util.tree_map_with_path(value, self.shapes["params"])
    variables, made = {**self.initial, "params": params}, self.optimizer
    opt_state = init_opt_state(made.tx, variables)
    state = State(jnp.int32(0), jax.random.key(self.seed), variables, opt_state, {})
    step, losses = jax.jit(make_step(self.task, made.tx, held=made.held)), []
    for _ in range(count):
      state, metrics = step(state, batch)
      losses.append(float(metrics["loss"]))
    gap = jax.device_get(jax.tree.map(jnp.subtract, state.variables["params"], params))
    return losses, {name(path): x for path, x in jax.tree_util.tree_leaves_with_path(gap)}


def hiding(said: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The masks and gates among what is said; a context and its targets are two of one name."""
  hides = lambda name: name.rpartition(".")[2] in HIDDEN  # of a branch too, "other.hidden"
  found = {name: jax.tree.leaves(value) for name, value in said.items() if hides(name)}
  return {
    f"{name}/{i}" if i else name: leaf
    for name, leaves in found.items()
    for i, leaf in enumerate(leaves)
  }


def _moved(state: State, at: Any) -> State:
  """The state as if so many updates had been made."""
  held = lambda node: isinstance(node, Held)
  jump = lambda node: node._replace(step=jnp.int32(at)) if held(node) else node
  return state._replace(
    step=jnp.int32(at), opt_state=jax.tree.map(jump, state.opt_state, is_leaf=held)
  )
