"""The training loop, the same for every task: one seed of a run in its workdir."""

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, SupportsFloat

import jax
import numpy as np

from maskjax.data import pipeline
from maskjax.errors import Restart
from maskjax.keys import stream
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.evaluators.evaluation import Context, due, evaluate
from maskjax.train.log import metrics, progress
from maskjax.train.log.loggers import open_writers
from maskjax.train.log.profiler import Profiler
from maskjax.train.log.summary import read_metrics, seconds
from maskjax.train.mesh.mesh import bytes_per_device
from maskjax.train.optimizers.rules import overview
from maskjax.train.plan import flops
from maskjax.train.pod.member import me
from maskjax.train.pod.share import share
from maskjax.train.pod.signals import Stop, Stopped
from maskjax.train.result import OnEval, ends
from maskjax.train.setup import stages
from maskjax.train.setup.build import Parts
from maskjax.train.setup.initial import first_state, snapshot
from maskjax.train.state import State, with_ema
from maskjax.train.workdirs import remote
from maskjax.train.workdirs.workdir import write_config, write_record
from maskjax.view.grid import save_png

log = logging.getLogger("maskjax")

# Bytes of a device's part of the state that may lie there twice until the first step is made.
LIGHT = 1 << 28


def fit(
  parts: Parts, workdir: pathlib.Path, seed: int, stop: Stop, on_eval: OnEval | None = None
) -> int:
  """Trains one seed to the end, from wherever its workdir stands, which `checks` has found right.

  Returns:
    The last step: that of the whole run, or the one at which `on_eval` ended it.

  Raises:
    Restart: asked to stop; everything is saved.
    BadInput: the loss is not finite, something cannot be written.
  """
  config = {**parts.config, "seed": seed}
  saving = {k: v for k, v in config.get("checkpoint", {}).items() if k != "every"}
  with contextlib.ExitStack() as stack:
    checkpoints = stack.enter_context(Checkpoints(workdir, **saving))
    state, position = first_state(parts, checkpoints, seed, workdir)
    if me().first:
      write_config(workdir, config)
      write_record(workdir, parts.data.record)
    step = int(state.step)
    writers = stack.enter_context(contextlib.closing(open_writers(config, workdir, step)))
    clock = progress.Clock(
      total=parts.total_steps,
      batch_size=config["batch_size"],
      step=step,
      seconds=seconds(read_metrics(workdir / "metrics.jsonl")),
    )
    bar = stack.enter_context(contextlib.closing(progress.Progress(parts.total_steps)))
    run = Run(parts, workdir, seed, checkpoints, writers, stop, clock, bar, on_eval)
    if step < parts.total_steps or run.unevaluated(step):
      step = run.train(state, position)
    checkpoints.prune()
    return step


@dataclasses.dataclass
class Run:
  """One seed under way: what it is made of, and where its results go."""

  parts: Parts
  workdir: pathlib.Path
  seed: int
  checkpoints: Checkpoints
  writers: metrics.Writers
  stop: Stop
  clock: progress.Clock
  bar: progress.Progress
  on_eval: OnEval | None = None
  ended: bool = False  # by `on_eval`

  def train(self, state: State, position: int) -> int:
    """Steps to the end; what a step logs is written before its checkpoint.

    A run that is killed while it evaluates a step that was saved evaluates it when it goes on.

    Returns:
      The last step.
    """
    config, total = self.parts.config, self.parts.total_steps
    first = int(state.step) + 1
    self._describe(state)
    looks = self._names(first - 1) and (first == 1 or self.unevaluated(first - 1))
    begun = self._kept(state, first) if looks else None
    if looks and begun is None:
      self._evaluate(state, first - 1)
    if self.ended:
      self._save(state, first - 1, position)
      self._written()
      return first - 1
    if self.stop.here():
      self._leave(state, first - 1, position)
    batches = pipeline.batches(
      self.parts.data,
      batch_size=config["batch_size"],
      seed=self.seed,
      position=position,
      process=share(self.parts.mesh.cut),
      **config.get("loader", {}),
    )
    previous: tuple[int, Any] | None = None
    profile, step = config.get("profile", {}) if me().first else {}, first - 1
    with Profiler(self.workdir / "profile", **profile) as profiler:
      for step in range(first, total + 1):
        with self.clock.phase("data"):
          batch = self.parts.mesh.put(next(batches))
        with profiler.step(step):
          state, scalars = self._step(state, batch, compiles=step == first)
        if begun is not None:
          log.info("step %d/%d is made: the evaluators look at step %d", step, total, step - 1)
          if self._evaluate(begun, step - 1) is None:
            self._leave(begun, step - 1, position)
          begun = None
        position += config["batch_size"]
        # Looked at one step late, so that the device need not wait for the host.
        self._check(previous)
        previous = step, scalars
        stopping = self.stop.here()
        if step == total or stopping or self._due(step):
          self._check(previous)
          self._milestone(state, step, position, scalars)
        if self.ended:
          break
    self._written()
    return step

  def _kept(self, state: State, first: int) -> State | None:
    """A copy of the state, at which evaluators look once the first step, which takes it, is made.

    None where it is large or lies with several processes, or `on_eval` may end the run before.
    """
    alone = me().count == 1 and not self.on_eval and first <= self.parts.total_steps
    light = bytes_per_device(state) <= LIGHT
    return jax.device_put(state, may_alias=False) if alone and light else None

  def _written(self) -> None:
    """Waits for the last checkpoint, the other processes too: they may read it next, or leave."""
    self.checkpoints.wait()
    me().barrier("the last checkpoint")

  def _step(
    self, state: State, batch: Mapping[str, jax.Array], compiles: bool
  ) -> tuple[State, Mapping[str, jax.Array]]:
    if not compiles:
      return self.parts.step(state, batch)
    with self.clock.phase("compile"):
      if me().count > 1 and hasattr(self.parts.step, "lower"):
        self.parts.step.lower(state, batch).compile()
      # Collectives of the CPU wait half a minute for one that still compiles, not longer.
      me().barrier("the first step")
      done = jax.block_until_ready(self.parts.step(state, batch))
    self.clock.restart(int(done[0].step))
    return done

  def _check(self, previous: tuple[int, Mapping[str, jax.Array]] | None) -> None:
    """Stops at the first step whose loss, terms or gradient are not finite."""
    if previous is not None:
      step, scalars = previous
      metrics.finite(step, jax.device_get(scalars))

  def _every(self, section: str, default: int = 0) -> int:
    return self.parts.config.get(section, {}).get("every", default)

  def _due(self, step: int) -> bool:
    often = [self._every("log", 50), self._every("checkpoint")]
    often += [section.get("every", 0) for section in self._evals().values() if section]
    return any(every > 0 and step % every == 0 for every in often)

  def _evals(self) -> Mapping[str, Any]:
    return self.parts.config.get("evals", {})

  def _milestone(self, state: State, step: int, position: int, scalars: Any) -> None:
    """Logs, saves, evaluates and leaves, whichever is due at this step, in this order.

    Where the best step stays, a checkpoint holds its scores, and is written after them.
    """
    last, every = step == self.parts.total_steps, self._every("checkpoint")
    log_every = self._every("log", 50)
    if last or (log_every and step % log_every == 0):
      self._log(step, position, jax.device_get(scalars))
    due = last or (every and step % every == 0)
    early = due and not self.parts.config.get("checkpoint", {}).get("best")
    if early:
      self._save(state, step, position)
    results = self._evaluate(state, step)
    self.stop.here()
    if (due or self.stop or self.ended) and not early:
      self._save(state, step, position, results)
    if self.stop and not self.ended and (results is None or not last):
      self._leave(state, step, position)

  def _log(self, step: int, position: int, scalars: Mapping[str, np.ndarray]) -> None:
    parts, pace = self.parts, self.clock.lap(step)
    mfu = flops.mfu(parts.flops, pace.steps_per_second, parts.peak, parts.mesh.devices)
    row: dict[str, SupportsFloat] = {f"train/{name}": value for name, value in scalars.items()}
    row |= {"train/rate": parts.optimizer.rate(step - 1), "train/examples": position}
    row |= {"perf/examples_per_second": pace.examples_per_second, "perf/mfu": mfu}
    row |= {f"perf/seconds/{phase}": spent for phase, spent in self.clock.seconds.items()}
    self.writers.scalars(step, row)
    remote.push(self.workdir, wait=False)
    if me().first:
      said = progress.line(step, parts.total_steps, scalars["loss"], pace, mfu, parts.peak)
      self.bar.show(step, said)

  def _names(self, step: int) -> list[str]:
    """The evaluators that run at a step."""
    total = self.parts.total_steps
    return [name for name, section in self._evals().items() if due(section, step, total)]

  def unevaluated(self, step: int) -> bool:
    """Whether a signal came while a saved step was being evaluated: its scalars are not there."""
    if not self._names(step):
      return False
    rows = read_metrics(self.workdir / "metrics.jsonl") if me().first else {}
    found = any(name.startswith("eval/") for name in rows.get(step, {}))
    return not me().barrier("the scalars so far", found)[0]

  def _evaluate(self, state: State, step: int) -> dict[str, float] | None:
    """The scalars of the evaluators that are due; None if a signal came before all were done."""
    sections, names = self._evals(), self._names(step)
    if not names:
      return {}
    picture = lambda name, image: keep_picture(self.workdir, self.writers, step, name, image)
    with self.clock.phase("eval"):
      me().barrier("an evaluation")
      context = make_context(self.parts, state, self.seed, step, picture, self.workdir)
      try:
        results = evaluate(dataclasses.replace(context, pause=self.stop.check), sections, names)
      except Stopped:
        return None
    self.writers.scalars(step, results)
    self.ended = ends(self.on_eval, step, results)
    return results

  def _save(
    self, state: State, step: int, position: int, results: Mapping[str, float] | None = None
  ) -> None:
    with self.clock.phase("checkpoint"):
      self.checkpoints.save(step, snapshot(state, position), metrics=results or {})

  def _leave(self, state: State, step: int, position: int) -> None:
    self._save(state, step, position)
    self._written()
    raise Restart(f"{self.stop.reason} at step {step}: saved; the same command goes on from there")

  def _describe(self, state: State) -> None:
    parts = self.parts
    if self.seed != parts.config["seed"]:
      return  # the same as for the first
    for line in overview(state.variables["params"]).splitlines():
      log.info("%s", line)
    for line in parts.optimizer.report:
      log.info("%s", line)
    log.info("%s", parts.mesh.describe(state))
    log.info("peak of a device: %s", parts.peak)


def keep_picture(
  workdir: pathlib.Path, writers: metrics.Writers, step: int, name: str, image: np.ndarray
) -> pathlib.Path:
  """Puts a picture under `views/` and hands it to the writers; returns its path.

  Of several processes only the first does.
  """
  path = workdir / "views" / f"{step:08d}_{name}.png"
  if me().first:
    save_png(path, image)
    writers.image(step, name, image)
  return path


def _unpadded(batch_size: int, sizes: Mapping[str, int], parts: int) -> int:
  """A batch that a small set does not have to be padded to, in as many parts as there are devices.

  >>> _unpadded(1024, {"train": 55, "test": 5}, parts=8), _unpadded(32, {"train": 55}, parts=8)
  (56, 32)
  """
  most = -(-max(sizes.values(), default=batch_size) // parts) * parts
  return min(batch_size, max(most, parts))


def make_context(
  parts: Parts,
  state: State,
  seed: int,
  step: int,
  picture: Callable[[str, np.ndarray], Any],
  workdir: pathlib.Path = pathlib.Path(),
) -> Context:
  """What evaluators may use, for one state of a run."""
  config = parts.config
  return Context(
    record=parts.data.record,
    task=parts.task,
    variables=with_ema(state),
    opt_state=state.opt_state,
    key=stream(jax.random.key(seed), "evaluation"),
    step=step,
    data=parts.data,
    mesh=parts.mesh,
    batch_size=_unpadded(
      config.get("eval_batch_size", config["batch_size"]), parts.data.record.sizes, parts.mesh.parts
    ),
    picture=picture,
    encode=parts.encode,
    place=partial(stages.place, workdir=workdir, seed=seed),
  )
