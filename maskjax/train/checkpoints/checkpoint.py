"""Checkpoints that never lie: written in the background and whole, verified when read."""

import concurrent.futures
import contextlib
import logging
import math
import operator
import os
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Self

import jax

from maskjax.errors import BadInput, Restart
from maskjax.train.checkpoints import cuts, faults, restoring, saving, verified
from maskjax.train.checkpoints import leaves as lv
from maskjax.train.checkpoints.exchange import Exchange
from maskjax.train.checkpoints.files import TEMPORARY
from maskjax.train.pod.member import me

log = logging.getLogger("maskjax")

PyTree = Any


def check_kept(keep: int = 1, keep_every: int = 0, best_mode: str = "max") -> None:
  """Raises `BadInput` unless these say which steps to keep; see `Checkpoints`."""
  if keep < 1 or keep_every < 0:
    raise BadInput(f"checkpoints: keep={keep} is at least 1, keep_every={keep_every} at least 0")
  if best_mode not in ("max", "min"):
    raise BadInput(f"checkpoints: best_mode is 'max' or 'min', got {best_mode!r}")


def preserved(
  steps: Sequence[int], *, keep: int, keep_every: int = 0, best: int | None = None
) -> list[int]:
  """The steps to keep: the newest `keep`, every `keep_every`-th, and the best.

  >>> preserved([0, 10, 20, 30, 40], keep=1, keep_every=20, best=10)
  [0, 10, 20, 40]
  """
  newest = set(sorted(steps)[-keep:])
  every = lambda step: keep_every > 0 and step % keep_every == 0
  return [step for step in sorted(steps) if step in newest or every(step) or step == best]


class Checkpoints:
  """The checkpoints of a run, under `workdir/checkpoints/`.

  Of several processes all save and restore together, each its part of every array.

  Args:
    workdir: the run's directory; nothing is written before the first save.
    keep: how many of the newest steps stay.
    keep_every: steps divisible by it stay for ever; 0 for none.
    best: the metric whose best step stays too; empty for none.
    best_mode: "max" or "min", which of its values is best.
  """

  def __init__(
    self,
    workdir: str | os.PathLike[str],
    *,
    keep: int = 1,
    keep_every: int = 0,
    best: str = "",
    best_mode: str = "max",
  ):
    check_kept(keep, keep_every, best_mode)
    self._directory = pathlib.Path(workdir).absolute() / "checkpoints"
    self._keep, self._keep_every = keep, keep_every
    self._best, self._sign = best, 1 if best_mode == "max" else -1
    self._writer = concurrent.futures.ThreadPoolExecutor(1, "checkpoint")
    self._pending: tuple[int, concurrent.futures.Future[None]] | None = None

  def __enter__(self) -> Self:
    """Opens nothing: reading and writing do."""
    return self

  def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
    """Closes; while another error is on its way, one of the last save is only logged."""
    try:
      self.close()
    except Exception as late:
      if error is None:
        raise
      log.warning("%s", late)

  def close(self) -> None:
    """Waits for the last save; raises what it raised."""
    try:
      self.wait()
    finally:
      self._writer.shutdown()

  def steps(self) -> list[int]:
    """The steps on disk, oldest first, whether good or not."""
    return saving.steps(self._directory)

  def save(self, step: int, tree: PyTree, *, metrics: Mapping[str, float] | None = None) -> None:
    """Copies `tree` and writes it in the background: it may be donated as soon as this returns.

    Leaves are jax or numpy arrays, scalars and typed keys. Each process copies and writes the cells
    that `cuts.cut` gives it. A good checkpoint of the same step and content stays as it is; bad
    ones of this or later steps are set aside as `STEP.bad`.

    Raises:
      BadInput: where the previous save failed for lack of space or permission; where there is a
        good checkpoint of a later step, or of this one with other content; for a leaf that is no
        number.
    """
    self.wait()
    if (step := operator.index(step)) < 0:
      raise BadInput(f"steps of checkpoints start at 0, got {step}")
    leaves = lv.named(tree)
    kinds = {name: lv.kind(name, leaf) for name, leaf in leaves.items()}
    metrics = {name: float(value) for name, value in (metrics or {}).items()}
    if self._best and metrics and self._best not in metrics:
      log.warning("step %d has no metric %r to be best by", step, self._best)
    job = saving.Job(self._directory, step, Exchange(f"the checkpoint of step {step}"), kinds)
    job.copy({name: cuts.data(leaf) for name, leaf in leaves.items()})
    try:
      there = job.there()
    except OSError as error:
      raise self._unwritten(step, error) from error
    if not there:
      self._pending = step, self._writer.submit(job.write, metrics, self._kept)

  def prune(self) -> None:
    """Lets the steps go that are not to be kept, as each save does.

    A run that died while it let them go may have ended otherwise: its relaunch saves nothing.
    """
    self.wait()
    saving.prune(self._directory, Exchange("the checkpoints to keep"), self._kept)

  def wait(self) -> None:
    """Waits for the last save.

    Raises:
      BadInput: where it could not be written, with the system's reason and the newest good step.
    """
    if self._pending is None:
      return
    step, future = self._pending
    concurrent.futures.wait([future])
    self._pending = None
    error = future.exception()
    if error is None:
      return
    if not faults.unwritten(error):
      raise error
    raise self._unwritten(step, error) from error

  def restore(self, like: PyTree, *, step: int | None = None) -> tuple[int, PyTree] | None:
    """Reads the newest good step, or the one asked for; None if there is no checkpoint at all.

    `like` is a tree of arrays, scalars and keys, or of `jax.ShapeDtypeStruct`. Its leaves say what
    comes back: Python and numpy leaves as such, jax ones on their sharding, whichever devices wrote
    them. Each bad step that is passed over is named in one warning.

    All processes get the same step. Each reads the cells that its devices hold; where devices of
    several hold the same it reads a part, and they send each other the rest.

    Raises:
      BadInput: where no step is good, or not the one asked for; where a good one has other leaves.
    """
    found = self._restored(partial(restoring.all_of, lv.named(like)), step)
    return found and (found[0], jax.tree.unflatten(jax.tree.structure(like), found[1].values()))

  def take(
    self, choose: Callable[[dict[str, lv.Spec]], Mapping[str, Any]], *, step: int | None = None
  ) -> tuple[int, dict[str, Any]] | None:
    """Reads, as `restore` does, some of the leaves of a step, and nothing else of it.

    Args:
      choose: what to read, of what is there: leaves as `restore` takes them, by slash-joined name;
        a `Spec` for an array that each process gets whole. Asked at all processes, of each step
        that is tried.
      step: the newest good one unless it is given.

    Raises:
      BadInput: as `restore`, but for other leaves; what `choose` raises.
    """
    return self._restored(lambda _, record: choose(verified.specs(record)), step)

  def _restored(
    self, choose: restoring.Choose, step: int | None
  ) -> tuple[int, dict[str, Any]] | None:
    self.wait()
    job = restoring.Job(self._directory, Exchange("the choice of a checkpoint"), choose)
    tried: list[tuple[int, bool]] = []
    while (number := job.agree(lambda: self._next(step, tried))) is not None:
      if job.read(number, lambda bad: self._passed(number, step, bad)):
        return number, job.place()
    return None

  def read(
    self, *, step: int | None = None, only: Callable[[Collection[str]], Collection[str]] = list
  ) -> tuple[int, lv.Arrays] | None:
    """Reads the newest good step, or the one asked for, as arrays by slash-joined name.

    Whole, by this process alone.

    Args:
      step: the newest good one unless it is given.
      only: which of the names that are there to read; all unless told.

    Raises:
      BadInput: where no step is good, or not the one asked for.
    """
    self.wait()
    tried: list[tuple[int, bool]] = []
    while (number := self._next(step, tried)) is not None:
      try:
        return number, verified.read(self._directory / str(number), only)[0]
      except Restart:  # a store that does not answer says nothing about what lies there
        raise
      except Exception as error:
        self._passed(number, step, faults.reason(error))
    return None

  def _next(self, step: int | None, tried: list[tuple[int, bool]]) -> int | None:
    """The newest step that was not tried, or the one asked for; None where there is none at all."""
    found = self._found()
    if step is not None and (found := [f for f in found if f == (step, True)]) == []:
      there = ", ".join(map(str, self.steps())) or "none"
      raise BadInput(f"no checkpoint of step {step} in {self._directory} (there: {there})")
    for number, whole in found:
      if (number, whole) in tried:
        continue
      tried.append((number, whole))
      if whole:
        return number
      self._passed(number, None, "it is half-written")
    if self.steps():
      raise BadInput(f"none of the checkpoints in {self._directory} is good: {self.steps()}")
    return None

  def _passed(self, number: int, step: int | None, bad: str) -> None:
    """Says why a step is passed over; where it is the one asked for, raises."""
    if step is not None:
      raise BadInput(f"the checkpoint of step {step} is bad: {bad}")
    log.warning("the checkpoint of step %d is bad, trying an older one: %s", number, bad)

  def _found(self) -> list[tuple[int, bool]]:
    """Steps newest first, whole (True) before half-written."""
    names = [path.name.partition(TEMPORARY) for path in saving.entries(self._directory)]
    return sorted({(int(s), not mark) for s, mark, _ in names if s.isdecimal()}, reverse=True)

  def _good(self, step: int) -> bool:
    try:
      verified.check(self._directory / str(step))
    except Restart:
      raise
    except Exception:
      return False
    return True

  def _unwritten(self, step: int, error: BaseException) -> BadInput:
    said = f"{faults.system_error(error) or error} ({self._directory})"
    told = f"checkpoint of step {step} could not be written: {said}"
    if not me().first:
      return BadInput(told)
    newest = next((s for s in reversed(self.steps()) if self._good(s)), None)
    last = "there is no good one" if newest is None else f"the last good one is step {newest}"
    return BadInput(f"{told}; {last}")

  def _kept(self, steps: Sequence[int]) -> Sequence[int]:
    """Those of some steps that stay."""
    best = self._best_step()
    return preserved(steps, keep=self._keep, keep_every=self._keep_every, best=best)

  def _best_step(self) -> int | None:
    values = {}
    for step in self.steps() if self._best else []:
      with contextlib.suppress(Exception):
        values[step] = (
          verified.read_record(self._directory / str(step))["metrics"][self._best] * self._sign
        )
    finite = [step for step, value in values.items() if math.isfinite(value)]
    return max(finite, key=lambda step: (values[step], step), default=None)
