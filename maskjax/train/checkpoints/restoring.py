"""One attempt after another to read a state, by all processes together, each its part."""

import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from maskjax.errors import BadInput
from maskjax.train.checkpoints import cuts, faults, sums, verified
from maskjax.train.checkpoints import leaves as lv
from maskjax.train.checkpoints.cuts import Box, Copies
from maskjax.train.checkpoints.exchange import Exchange
from maskjax.train.pod.member import me
from maskjax.train.workdirs import remote

Choose = Callable[[pathlib.Path, verified.Record], Mapping[str, Any]]


class Job:
  """What is to be read, and what was.

  Args:
    directory: with a folder a step.
    talk: between all processes.
    choose: `(step, record)` to what to read of it, by name: leaves with values, shapes that say
      where they lie, or `Spec`s of what each process gets whole.
  """

  def __init__(self, directory: pathlib.Path, talk: Exchange, choose: Choose):
    self._directory, self._talk, self._choose = directory, talk, choose
    self._wanted: Mapping[str, Any] = {}
    self._spread: dict[str, Any] = {}
    self._record: verified.Record = {"leaves": {}}
    self._parts: dict[str, Copies] = {}

  def agree(self, choose: Callable[[], int | None]) -> int | None:
    """What the first process chooses, at all of them."""
    return self._talk.agree(None, lambda _: choose())

  def read(self, step: int, bad: Callable[[str], None]) -> bool:
    """Reads what this process needs of a step; whether it is good, all processes' parts together.

    Args:
      step: the folder's name.
      bad: told why where it is not, at the first process alone.

    Raises:
      BadInput: a step with other leaves; what `bad` raises.
      Restart: a store does not answer, at any of the processes.
    """
    try:
      said: dict[str, Any] = {"sums": self._read(self._directory / str(step))}
    except Exception as error:
      said = faults.said(error)
    return self._talk.agree(said, lambda values: self._good(values, bad))

  def _read(self, path: pathlib.Path) -> verified.Sums:
    """Reads the parts; returns what they add to the digests, as often as devices hold them."""
    remote.fetch(path, ["digest/"])
    record = verified.of_now(path, verified.read_record(path), told=me().first)
    self._wanted = self._choose(path, record)
    # What lies on devices of several processes is read in parts.
    split = {n: x for n, x in self._wanted.items() if cuts.spans(x) and not lv.is_key(x)}
    self._spread = {name: cuts.spread(leaf.sharding, leaf.shape) for name, leaf in split.items()}
    taken = {name: field for name, field in record["leaves"].items() if name in self._wanted}
    self._record = {**record, "leaves": taken}
    wanted = {name: self._boxes(name) for name in self._record["leaves"]}
    once = {name: list(dict.fromkeys(boxes)) for name, boxes in wanted.items()}
    found = verified.parts(path, self._record, once)
    arrays = {name: dict(copies) for name, copies in found.items()}
    self._parts = {n: [(box, arrays[n][box]) for box in boxes] for n, boxes in wanted.items()}
    return verified.digests(self._parts, self._record)

  def _boxes(self, name: str) -> Sequence[Box]:
    """What this process reads of an array: whole, or what each of its devices holds."""
    shape = self._record["leaves"][name]["shape"]
    if name not in self._spread:
      return [cuts.whole(shape)]
    return list(cuts.boxes(self._spread[name], shape).values())

  def _good(self, values: Sequence[Mapping[str, Any]], bad: Callable[[str], None]) -> bool:
    faults.passed_on(values)
    told = [faults.at(index, value) for index, value in enumerate(values) if "error" in value]
    if not told:
      totals = {n: sum(value["sums"][n] for value in values) & sums.MASK for n in values[0]["sums"]}
      told = verified.differing(self._record, totals, {name: self._times(name) for name in totals})
    if told:
      bad(told[0])
    return not told

  def _times(self, name: str) -> int:
    """How often all processes together read each element."""
    if name not in self._spread:
      return jax.process_count()
    sharding, shape = self._spread[name], self._wanted[name].shape
    held = sharding.num_devices * math.prod(sharding.shard_shape(shape))
    return held // max(math.prod(shape), 1)

  def place(self) -> dict[str, Any]:
    """The leaves by name, each of the kind that was wanted."""
    fields = self._record["leaves"]
    new = verified.added(self._wanted, self._record)
    whole = lambda name: new[name] if name in new else self._parts.pop(name)[0][1]
    impl = lambda name: fields[name]["impl"] if name in fields else ""
    made, laid = {}, {}
    for name, leaf in self._wanted.items():
      if name in self._spread and name not in new:
        parts = [array for _, array in self._parts.pop(name)]
        laid[name] = cuts.assemble(leaf.shape, self._spread[name], parts)
      else:
        made[name] = lv.place(whole(name), leaf, impl(name))
    moved = {n: x for n, x in laid.items() if x.sharding != self._wanted[n].sharding}
    if moved:
      laid |= cuts.relaid(moved, {name: self._wanted[name].sharding for name in moved})
    return {name: laid[name] if name in laid else made[name] for name in self._wanted}


def all_of(
  like: Mapping[str, Any], path: pathlib.Path, record: verified.Record
) -> Mapping[str, Any]:
  """All of a state, which is to be that of the step.

  Raises:
    BadInput: the step has other leaves; the first are named.
  """
  new = verified.added(like, record)
  saved = {name: field["is"] for name, field in record["leaves"].items()}
  asked = {name: str(lv.spec(name, leaf)) for name, leaf in like.items() if name not in new}
  if names := [n for n in {**asked, **saved} if saved.get(n) != asked.get(n)]:
    shown = [f"{n} is {saved.get(n, 'absent')}, expected {asked.get(n, 'absent')}" for n in names]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    where = f"the checkpoint of step {path.name} in {path.parent}"
    raise BadInput(f"{where} holds another state: {'; '.join(shown[:3])}{more}")
  return like
