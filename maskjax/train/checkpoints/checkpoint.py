"""Checkpoints that never lie: written in the background and whole, verified when read."""

import concurrent.futures
import contextlib
import logging
import math
import operator
import os
import pathlib
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Self

import jax

from maskjax.errors import BadInput, Restart
from maskjax.train.checkpoints import leaves as lv
from maskjax.train.checkpoints import verified
from maskjax.train.pod.member import me
from maskjax.train.workdirs import remote

log = logging.getLogger("maskjax")

PyTree = Any


def _compare(record: verified.Record, like: Mapping[str, Any], where: str) -> None:
  saved = {name: field["is"] for name, field in record["leaves"].items()}
  asked = {name: str(lv.spec(name, leaf)) for name, leaf in like.items()}
  if names := [n for n in {**asked, **saved} if saved.get(n) != asked.get(n)]:
    shown = [f"{n} is {saved.get(n, 'absent')}, expected {asked.get(n, 'absent')}" for n in names]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    raise BadInput(f"{where} holds another state: {'; '.join(shown[:3])}{more}")


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


def _system_error(error: BaseException) -> str:
  """What the operating system said, by an OSError or in tensorstore's text; empty for nothing."""
  if isinstance(error, OSError) and error.errno:
    return os.strerror(error.errno).lower()
  found = re.search(r"os_error_code='(\d+)'", str(error))
  return os.strerror(int(found[1])).lower() if found else ""


def _reason(error: Exception) -> str:
  if isinstance(error, verified.DamagedError):
    return str(error)
  first = str(error).partition("\n")[0]
  return f"{type(error).__name__}: {first[:200]}"


class Checkpoints:
  """The checkpoints of a run, under `workdir/checkpoints/`; the first process writes, all read.

  Of several processes all save and restore together.

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
    return sorted(int(p.name) for p in self._entries() if p.name.isdecimal())

  def save(self, step: int, tree: PyTree, *, metrics: Mapping[str, float] | None = None) -> None:
    """Copies `tree` and writes it in the background: it may be donated as soon as this returns.

    Leaves are jax or numpy arrays, scalars and typed keys. A good checkpoint of the same step and
    content stays as it is; bad ones of this or later steps are set aside as `STEP.bad`.

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
    arrays = lv.host(leaves, keep=me().first)
    if not me().first:
      return
    try:
      there = self._there(step, arrays)
    except OSError as error:
      raise self._unwritten(step, error) from error
    if not there:
      self._pending = step, self._writer.submit(self._save, step, arrays, kinds, metrics)

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
    if not (_system_error(error) or isinstance(error, verified.DamagedError)):
      raise error
    raise self._unwritten(step, error) from error

  def restore(self, like: PyTree, *, step: int | None = None) -> tuple[int, PyTree] | None:
    """Reads the newest good step, or the one asked for; None if there is no checkpoint at all.

    `like` is a tree of arrays, scalars and keys, or of `jax.ShapeDtypeStruct`. Its leaves say what
    comes back: Python and numpy leaves as such, jax ones on their sharding, whichever devices wrote
    them. Each bad step that is passed over is named in one warning.

    All processes get the step that the first of them chose.

    Raises:
      BadInput: where no step is good, or not the one asked for; where a good one has other leaves.
    """
    wanted = lv.named(like)
    found = self._newest(step) if me().first else None
    chosen = me().barrier("the choice of a checkpoint", found and found[0])[0]
    if not me().first and chosen is not None:
      found = self._newest(chosen)
    if found is None:
      return None
    number, arrays, record = verified.added(found, wanted)
    _compare(record, wanted, f"the checkpoint of step {number} in {self._directory}")
    impl = {name: field["impl"] for name, field in record["leaves"].items()}
    leaves = [lv.place(arrays[name], leaf, impl[name]) for name, leaf in wanted.items()]
    return number, jax.tree.unflatten(jax.tree.structure(like), leaves)

  def read(self, *, step: int | None = None) -> tuple[int, lv.Arrays] | None:
    """Reads the newest good step, or the one asked for, as arrays by slash-joined name.

    Raises:
      BadInput: where no step is good, or not the one asked for.
    """
    found = self._newest(step)
    return None if found is None else found[:2]

  def _newest(self, step: int | None) -> tuple[int, lv.Arrays, verified.Record] | None:
    self.wait()
    found = self._found()
    if step is not None and (found := [f for f in found if f == (step, True)]) == []:
      there = ", ".join(map(str, self.steps())) or "none"
      raise BadInput(f"no checkpoint of step {step} in {self._directory} (there: {there})")
    for number, whole in found:
      try:
        if not whole:
          raise verified.DamagedError("it is half-written")
        return number, *verified.read(self._directory / str(number))
      except Restart:  # a store that does not answer says nothing about what lies there
        raise
      except Exception as error:
        if step is not None:
          raise BadInput(f"the checkpoint of step {step} is bad: {_reason(error)}") from error
        log.warning(
          "the checkpoint of step %d is bad, trying an older one: %s", number, _reason(error)
        )
    if self.steps():
      raise BadInput(f"none of the checkpoints in {self._directory} is good: {self.steps()}")
    return None

  def _entries(self) -> list[pathlib.Path]:
    return list(self._directory.iterdir()) if self._directory.is_dir() else []

  def _found(self) -> list[tuple[int, bool]]:
    """Steps newest first, whole (True) before half-written."""
    names = [path.name.partition(verified.TEMPORARY) for path in self._entries()]
    return sorted({(int(s), not mark) for s, mark, _ in names if s.isdecimal()}, reverse=True)

  def _good(self, step: int) -> bool:
    try:
      verified.read(self._directory / str(step))
    except Restart:
      raise
    except Exception:
      return False
    return True

  def _unwritten(self, step: int, error: BaseException) -> BadInput:
    newest = next((s for s in reversed(self.steps()) if self._good(s)), None)
    last = "there is no good one" if newest is None else f"the last good one is step {newest}"
    said = f"{_system_error(error) or error} ({self._directory})"
    return BadInput(f"checkpoint of step {step} could not be written: {said}; {last}")

  def _there(self, step: int, arrays: lv.Arrays) -> bool:
    """True if this step is on disk; sets bad ones from it on aside, refuses good ones."""
    for other in self.steps():
      if other < step:
        continue
      path = self._directory / str(other)
      try:
        _, record = verified.read(path)
      except Restart:
        raise
      except Exception:
        aside = path.with_suffix(".bad")
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        continue
      digests = {name: field["digest"] for name, field in record["leaves"].items()}
      if other == step and digests == lv.digests(arrays):
        return True
      raise BadInput(
        f"step {step} cannot be saved: {self._directory} has a good step {other} already"
      )
    return False

  def _save(
    self,
    step: int,
    arrays: lv.Arrays,
    kinds: Mapping[str, lv.Kind],
    metrics: Mapping[str, float],
  ) -> None:
    """Runs in the writer's thread: writes, reads back, and only then deletes what may go."""
    self._sweep()
    try:
      verified.write(self._directory / str(step), arrays, kinds, metrics)
      verified.check(self._directory / str(step))
    except BaseException:
      self._sweep()
      raise
    keep = preserved(
      self.steps(), keep=self._keep, keep_every=self._keep_every, best=self._best_step()
    )
    for old in set(self.steps()) - set(keep):
      # Renamed first: a step is there whole or not at all, wherever the process dies.
      path = self._directory / str(old)
      path.rename(path.with_suffix(verified.TEMPORARY))
    self._sweep()
    remote.push(self._directory)

  def _sweep(self) -> None:
    for path in self._entries():
      if verified.TEMPORARY in path.name:
        shutil.rmtree(path, ignore_errors=True)

  def _best_step(self) -> int | None:
    values = {}
    for step in self.steps() if self._best else []:
      with contextlib.suppress(Exception):
        values[step] = (
          verified.read_record(self._directory / str(step))["metrics"][self._best] * self._sign
        )
    finite = [step for step, value in values.items() if math.isfinite(value)]
    return max(finite, key=lambda step: (values[step], step), default=None)
