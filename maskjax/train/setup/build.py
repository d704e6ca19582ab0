"""From a config to the parts of a run; what cannot work is found before anything is written."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from maskjax import bind, weights
from maskjax.data import pipeline
from maskjax.errors import BadInput, unknown
from maskjax.record import Record
from maskjax.sections import Lengths, bound
from maskjax.task.base import Task, Variables, total
from maskjax.task.prepare import prepared
from maskjax.train.mesh.mesh import Mesh, make_mesh
from maskjax.train.optimizers.groups import grouped
from maskjax.train.optimizers.optimizer import Optimizer
from maskjax.train.optimizers.rules import match
from maskjax.train.plan import flops
from maskjax.train.setup.by_kind import by_kind
from maskjax.train.setup.durations import duration
from maskjax.train.setup.penalty import penalized, where_of
from maskjax.train.state import State, begun, init_opt_state, start
from maskjax.train.step import make_step

Config = Mapping[str, Any]

# A rerun on a workdir must agree in these; all other fields are free to change.
IDENTITY = (
  "task", "over", "input", "model", "score", "select", "hide", "target", "losses", "let",
  "branches", "teachers", "taps", "gates", "final", "prepare", "penalty", "reparametrize", "data",
  "optimizer", "hold", "batch_size", "seed", "ema", "total",
)  # fmt: skip
FREE = (
  "job", "seeds", "accumulate", "loader", "evals", "eval_batch_size", "checkpoint", "log", "resume",
  "init_from", "init_except", "init_missing", "stages", "until", "debug", "profile", "sample",
  "explain", "mesh", "answers", "scalars",
)  # fmt: skip
DTYPES = ("float32", "bfloat16", "float16")
LENGTHS = ("total_steps", "total_epochs", "total_examples")


class Built(NamedTuple):
  """What a config comes to for data of a record: all of a run that needs no data.

  Attributes:
    task: the method, told of the devices.
    optimizer: what moves the parameters, its rate and its report.
    total_steps: where the run ends.
    begin: `(key, batch) -> State` before step 0.
    state: shapes and dtypes of the run's state, on their devices.
    batch: shapes and dtypes of a whole batch.
    step: `(state, batch) -> (state, metrics)`, for `Mesh.compile`.
  """

  task: Task
  optimizer: Optimizer
  total_steps: int
  begin: Callable[..., State]
  state: State
  batch: Mapping[str, jax.ShapeDtypeStruct]
  step: Callable[..., Any]

  @property
  def flops(self) -> float:
    """Model FLOPs of a step, all devices together."""

    def loss(variables, batch, key):
      terms = self.task.loss(variables, self.task.pair(batch, key, 0), key, 0)[0]
      return total(terms, self.task.weights)

    return flops.model_flops(loss, self.state.variables, self.batch, jax.random.key(0))


def build(config: Config, record: Record, example: Mapping[str, Any], mesh: Mesh) -> Built:
  """Builds what a config describes around the record of its data; nothing is computed.

  Args:
    config: plain nested dicts.
    record: of the data.
    example: a batch of one example, or its shapes and dtypes.
    mesh: the devices.

  Raises:
    BadInput: whatever in the config cannot work.
  """
  batch_size, accumulate, ema = config["batch_size"], config.get("accumulate", 1), ema_of(config)
  mesh.check(batch_size, accumulate)
  task = mesh.reading(make_task(config, record))
  # Traced once, here for shapes and then for the state.
  task = task._replace(init=jax.jit(task.init, inline=True))
  total_steps = run_lengths(config, record).total_steps
  examples = record.sizes[config["data"].get("train", "train")]
  key = jax.random.key(0)
  shapes = dict(jax.eval_shape(task.init, key, example))
  lengths = {"batch_size": batch_size, "examples": examples}
  tuning = make_optimizer(config, shapes["params"], total_steps, **lengths)
  whole = lambda x: jax.ShapeDtypeStruct((batch_size, *x.shape[1:]), x.dtype)
  return Built(
    task=task,
    optimizer=tuning,
    total_steps=total_steps,
    begin=partial(start, task, tuning.tx, ema=bool(ema)),
    state=mesh.state(jax.eval_shape(partial(begun, task, tuning.tx, ema=bool(ema)), key, shapes)),
    batch={name: whole(x) for name, x in example.items()},
    step=make_step(task, tuning.tx, accumulate=accumulate, ema=ema, held=tuning.held),
  )


def ema_of(config: Config) -> float:
  """How much of the moving average a step keeps; 0 for none.

  Raises:
    BadInput: it is not in [0, 1).
  """
  ema = config.get("ema", 0.0)
  if not 0 <= ema < 1:
    raise BadInput(f"ema must lie in [0, 1), got {ema}")
  return ema


class Parts(NamedTuple):
  """What a run is made of, the same for all its seeds.

  Attributes:
    config: plain nested dicts.
    data: the open data set.
    task: the method.
    optimizer: what moves the parameters, its rate and its report.
    total_steps: where the run ends.
    mesh: the devices, and how arrays lie on them.
    example: a batch of one example, from which variables are made.
    state: shapes and dtypes of the run's state, on their devices.
    begin: `key -> State`, compiled once for each kind of leaf.
    init_opt_state: `variables -> the optimiser's state` where it begins from these.
    step: `(state, batch) -> (state, metrics)`, compiled once; gives its state's memory away.
    encode: `(variables, batch) -> features`, compiled once.
    flops: model FLOPs of a step.
    peak: what a device could do.
  """

  config: Config
  data: pipeline.Data
  task: Task
  optimizer: Optimizer
  total_steps: int
  mesh: Mesh
  example: Mapping[str, np.ndarray]
  state: State
  begin: Callable[[jax.Array], State]
  init_opt_state: Callable[[Variables], Any]
  step: Callable[..., Any]
  encode: Callable[..., Any]
  flops: float
  peak: flops.Peak


def make_task(config: Config, record: Record) -> Task:
  """The task that a config describes, for data of this record.

  `config.task.fn` makes it from what it names of the config, the record and the lengths of the run;
  `config.prepare` are statistics by name, see `maskjax.task.prepare`, `config.penalty` is a penalty
  of the weights and `config.reparametrize` learned masks over them.

  Raises:
    BadInput: a name, an argument or a combination that cannot work.
  """
  lengths = run_lengths(config, record)
  task, offers = bound(config["task"]), {"config": config, "record": record, "lengths": lengths}
  bind.check(task, offers, "the config")
  made: Task = bind.call(task, offers)
  made = with_statistics(made, config, record)
  if config.get("penalty"):
    made = penalized(made, config["penalty"], lengths)
  section = config.get("reparametrize")
  return reparametrized(made, section, lengths) if section else made


def with_statistics(made: Task, config: Config, record: Record) -> Task:
  """The task with the statistics of `config.prepare`.

  Raises:
    BadInput: an unknown function or argument.
  """
  statistics = {name: bound(section) for name, section in (config.get("prepare") or {}).items()}
  told = {"task": made, "record": record}
  for statistic in statistics.values():
    bind.check(statistic, told, "the config")
  if statistics:
    # Those of the data alone come first: those of the task may depend on them.
    order = sorted(statistics, key=lambda name: "task" in bind.needs(statistics[name]))
    made = prepared(made, **{name: bind.call(statistics[name], told) for name in order})
  return made


def reparametrized(made: Task, section: Config, lengths: Lengths) -> Task:
  """The task with learned masks over its weights, as a section's `fn` says; `where` as in `hold`.

  Raises:
    BadInput: an unknown function, argument or schedule.
  """
  rest = {k: v for k, v in section.items() if k != "where"}
  return weights.reparametrized(made, bound(rest, lengths)(where=where_of(section)))


def run_lengths(config: Config, record: Record) -> Lengths:
  """How long the run of a config on data of this record is.

  Raises:
    BadInput: the config does not say.
  """
  batch_size, examples = config["batch_size"], record.sizes[config["data"].get("train", "train")]
  total_steps = duration("total", config, batch_size=batch_size, examples=examples)
  if not total_steps:
    raise BadInput(f"say how long to train: one of {', '.join(LENGTHS)}")
  return Lengths(total_steps, examples / batch_size)


def make_parts(
  config: Config,
  devices: Sequence[jax.Device] | None = None,
  known: Record | None = None,
) -> Parts:
  """Opens the data and builds everything else around its record, for all devices or those given.

  `known` is the record of the first launch, whose statistics are kept; see `pipeline.load`.

  Raises:
    BadInput: whatever in the config cannot work.
  """
  dtype, mesh = compute_dtype(config), make_mesh(config.get("mesh"), devices)
  # Before the data are opened, which may take long.
  ema_of(config)
  mesh.check(config["batch_size"], config.get("accumulate", 1))
  section = {k: v for k, v in config["data"].items() if v is not None}
  data = pipeline.load(**{**section, "known": known})
  example = next(pipeline.batches(data, batch_size=1, seed=0, threads=1, prefetch=1))
  # Steps and rates of a run are those of its first launch, whatever another job looks at.
  sizes = {**data.record.sizes, **(known.sizes if known else {})}
  made = build(config, dataclasses.replace(data.record, sizes=sizes), example, mesh)
  task, tuning = made.task, made.optimizer
  lies = jax.tree.map(lambda leaf: leaf.sharding, made.state)
  return Parts(
    config=config,
    data=data,
    task=task,
    optimizer=tuning,
    total_steps=made.total_steps,
    mesh=mesh,
    example=example,
    state=made.state,
    begin=by_kind(partial(made.begin, batch=example), lies),
    init_opt_state=jax.jit(partial(init_opt_state, tuning.tx), out_shardings=lies.opt_state),
    step=mesh.compile(made.step),
    encode=jax.jit(task.answers.get("features", _no_features)),
    flops=made.flops,
    peak=flops.peak(mesh.mesh.devices.flat[0], dtype),
  )


def compute_dtype(config: Config) -> jnp.dtype:
  """The dtype that the model computes in."""
  model = config.get("model") or {}
  # Of several networks the first that is trained and says so.
  parts = [model, *(part for part in model.values() if isinstance(part, Mapping))]
  parts = [part for part in parts if not part.get("frozen")]
  name = next((part["dtype"] for part in parts if "dtype" in part), "float32")
  if name not in DTYPES:
    raise unknown("dtype of the model", name, DTYPES)
  return jnp.dtype(name)


def make_optimizer(
  config: Config, params: Any, total_steps: int, *, batch_size: int, examples: int
) -> Optimizer:
  """The optimiser of a config's section, its warm-up turned into steps, and what holds weights."""
  section = dict(config["optimizer"])
  lengths = {"batch_size": batch_size, "examples": examples, "total_steps": total_steps}
  warmup = duration("warmup", section, **lengths) or 0
  rest = {k: v for k, v in section.items() if not k.startswith("warmup_") and v is not None}
  if warmup > total_steps:
    raise BadInput(f"warm-up takes {warmup} steps, the whole run {total_steps}")
  sizes = {"total_steps": total_steps, "batch_size": batch_size, "warmup_steps": warmup}
  made = grouped(params, rest.pop("groups", ()), **sizes, **rest)
  if not config.get("hold"):
    return made
  return hold(made, config["hold"], params, Lengths(total_steps, examples / batch_size))


def hold(made: Optimizer, section: Config, params: Any, lengths: Lengths) -> Optimizer:
  """Wraps an optimiser so that the weights which a section selects are held, as its `fn` says.

  Its `where` are rules, (pattern, bool) pairs, False for what none matches; without them it is for
  `fn` to say which leaves have masks.

  Raises:
    BadInput: a pattern that matches nothing, or a run too short to choose masks in.
  """
  if section.get("every", 1) > lengths.total_steps:
    raise BadInput(f"hold.every={section['every']} is beyond the run's {lengths.total_steps} steps")
  rules, rest = section.get("where"), {k: v for k, v in section.items() if k != "where"}
  chosen = match(params, rules, default=False) if rules else None
  tx = bound(rest, lengths)(made.tx, where=chosen.values if chosen else None)
  report = tuple(f"held: {line}" for line in chosen.report) if chosen else ()
  return made._replace(tx=tx, held=weights.settle, report=(*made.report, *report))


def _no_features(variables: Variables, batch: Any) -> Any:
  raise BadInput("this task has no features to evaluate")
