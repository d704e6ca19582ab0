"""The writing of one step by all processes together, each its part."""

import contextlib
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from maskjax.errors import BadInput, Restart
from maskjax.train.checkpoints import cuts, faults, files, sums, verified
from maskjax.train.checkpoints import leaves as lv
from maskjax.train.checkpoints.exchange import Exchange
from maskjax.train.pod.member import me
from maskjax.train.workdirs import remote

Keep = Callable[[Sequence[int]], Sequence[int]]


class Job:
  """One step that is written.

  Args:
    directory: with a folder a step.
    step: which.
    talk: between all processes.
    kinds: of every leaf.
  """

  def __init__(
    self, directory: pathlib.Path, step: int, talk: Exchange, kinds: Mapping[str, lv.Kind]
  ):
    self._directory, self._path, self._talk = directory, directory / str(step), talk
    self._step, self._kinds = step, kinds
    self._shared = not remote.apart(directory)  # whether all processes have one folder
    self._cells: dict[str, files.Cells] = {}

  def copy(self, leaves: Mapping[str, Any]) -> None:
    """Copies what this process writes to memory of its own."""
    plan = {name: cuts.cut(leaf) for name, leaf in leaves.items()}
    copies = cuts.copies(leaves, plan)
    dtype = lambda name: np.dtype(lv.spec(name, leaves[name]).dtype)
    self._cells = {n: files.Cells(plan[n], dtype(n), copies[n]) for n in leaves}

  def there(self) -> bool:
    """Whether this step is on disk; sets bad ones from it on aside.

    Raises:
      BadInput: there is a good one that is later, or has other content.
    """
    for other in self._talk.agree(None, lambda _: self._later()):
      try:
        said = self._found(self._directory / str(other))
      except Exception as error:
        said = faults.said(error)
      verdict = self._talk.agree(said, lambda values: self._judged(other, values))  # noqa: B023
      if verdict == "bad":
        if not self._shared and not me().first:
          shutil.rmtree(self._directory / str(other), ignore_errors=True)
      elif (verdict, other) == ("same", self._step):
        return True
      else:
        raise BadInput(
          f"step {self._step} cannot be saved: {self._directory} has a good step {other} already"
        )
    return False

  def _later(self) -> list[int]:
    """The steps from this one on that are on disk, once what was half-written is gone."""
    sweep(self._directory)
    remote.sweep(self._directory)
    return [step for step in steps(self._directory) if step >= self._step]

  def _found(self, path: pathlib.Path) -> dict[str, Any]:
    """What this process' cells are in a step on disk, and whether they are what it has."""
    remote.fetch(path, ["digest/"])
    record = verified.read_record(path)
    specs = {n: lv.Spec(one.dtype.name, one.cut.shape) for n, one in self._cells.items()}
    if specs != verified.specs(record):
      return {"sums": {}, "same": False}
    ours = {name: one.copies for name, one in self._cells.items()}
    theirs = verified.parts(
      path, record, {n: [box for box, _ in found] for n, found in ours.items()}
    )
    found, own = verified.digests(theirs, record), verified.digests(ours, record)
    return {"sums": found, "same": found == own}

  def _judged(self, other: int, values: Sequence[Mapping[str, Any]]) -> str:
    """Whether a step on disk is bad, and then set aside, the same or another good one."""
    faults.passed_on(values)
    path, bad = self._directory / str(other), any("error" in value for value in values)
    if not bad:
      record = verified.read_record(path)
      totals = _added([value["sums"] for value in values])
      bad = bool(verified.differing(record, totals, dict.fromkeys(totals, 1)))
    if bad:
      aside = path.with_suffix(".bad")
      shutil.rmtree(aside, ignore_errors=True)
      remote.rename(path, aside)  # before others write under this name
      return "bad"
    return "same" if all(value["same"] for value in values) else "other"

  def write(self, metrics: Mapping[str, float], keep: Keep) -> None:
    """Writes, reads back, and only then deletes what may go; runs in a thread of its own.

    Args:
      metrics: kept with the step.
      keep: which of the steps on disk stay.
    """
    error: BaseException | None = None
    said: dict[str, Any]
    try:
      said = {"sums": self._part()}
    except BaseException as own:  # the others wait to hear of it
      error, said = own, faults.said(own)
    try:
      kept = self._talk.agree(said, lambda values: self._commit(values, error, metrics, keep))
    except BaseException as told:
      if not self._shared:
        sweep(self._directory)
      raise error or told from None
    _follow(self._directory, kept)

  def _part(self) -> verified.Sums:
    """Writes this process' part, reads it back and, in a copy of a store, puts it there."""
    place = verified.temporary(self._path)
    if not self._shared:
      shutil.rmtree(place, ignore_errors=True)
      shutil.rmtree(self._path, ignore_errors=True)
    files.put(place, self._cells)
    ours = {name: one.copies for name, one in self._cells.items()}
    record = verified.record(self._kinds, self._cells, dict.fromkeys(ours, 0), {})
    written = verified.digests(ours, record)
    verified.check_part(place, record, ours, written)
    if not self._shared:
      place.rename(self._path)
      remote.push(self._directory)
    return written

  def _commit(
    self,
    values: Sequence[Mapping[str, Any]],
    error: BaseException | None,
    metrics: Mapping[str, float],
    keep: Keep,
  ) -> list[int]:
    """At the first process, once all have written: makes the step count, lets older ones go."""
    try:
      if error is not None:
        raise error
      faults.passed_on(values)
      faults.refuse(values)
      totals = _added([value["sums"] for value in values])
      record = verified.record(self._kinds, self._cells, totals, metrics)
      verified.write(self._path, record)
      verified.read_record(self._path)
    except BaseException:
      sweep(self._directory)
      with contextlib.suppress(BadInput, Restart):  # the next save sweeps too
        remote.sweep(self._directory)
      raise
    return _let_go(self._directory, keep)


def prune(directory: pathlib.Path, talk: Exchange, keep: Keep) -> None:
  """Lets steps go as a save does: who died while doing so left them, and may have no step to save.

  Args:
    directory: with a folder a step.
    talk: between all processes.
    keep: which of the steps on disk stay.
  """
  _follow(directory, talk.agree(None, lambda _: _let_go(directory, keep)))


def _let_go(directory: pathlib.Path, keep: Keep) -> list[int]:
  """Deletes, at the first process, the steps that do not stay; returns those that do."""
  kept = keep(there := steps(directory))
  for old in set(there) - set(kept):
    # Renamed first: a step is there whole or not at all, wherever the process dies.
    path = directory / str(old)
    path.rename(path.with_suffix(files.TEMPORARY))
  sweep(directory)
  remote.push(directory)
  remote.sweep(directory)
  return list(kept)


def _follow(directory: pathlib.Path, kept: Sequence[int]) -> None:
  """Deletes the same steps where another process has a copy of its own."""
  if me().first or not remote.apart(directory):
    return
  for step in set(steps(directory)) - set(kept):
    shutil.rmtree(directory / str(step), ignore_errors=True)
  remote.push(directory)


def _added(values: Sequence[verified.Sums]) -> verified.Sums:
  return {name: sum(value.get(name, 0) for value in values) & sums.MASK for name in values[0]}


def entries(directory: pathlib.Path) -> list[pathlib.Path]:
  """What lies in a folder of checkpoints."""
  return list(directory.iterdir()) if directory.is_dir() else []


def steps(directory: pathlib.Path) -> list[int]:
  """The steps on disk, oldest first, whether good or not."""
  return sorted(int(path.name) for path in entries(directory) if path.name.isdecimal())


def sweep(directory: pathlib.Path) -> None:
  """Takes away what is half-written, or half-gone."""
  for path in entries(directory):
    if files.TEMPORARY in path.name:
      shutil.rmtree(path, ignore_errors=True)
