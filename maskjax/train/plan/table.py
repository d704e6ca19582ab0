"""A plan as lines of text."""

from collections.abc import Iterable, Mapping
from typing import Any


def table(made: Mapping[str, Any]) -> str:
  """All figures of a plan, those of one chip unless they say otherwise, and the verdict."""
  if not made["batch_size"]:
    return made["verdict"]
  return "\n".join([*_lines(made), "", made["verdict"]])


def _lines(made: Mapping[str, Any]) -> Iterable[str]:
  mesh = dict(made["mesh"])
  preset = mesh.pop("preset")
  axes = " ".join(f"{axis}={size}" for axis, size in mesh.items())
  yield f"{made['topology']}: {made['chips']} chips, {preset} ({axes}), batch {made['batch_size']}"
  yield f"compiled ahead of time in {made['compile_seconds']:.0f} s, {made['dtype']}"
  yield from ("", "memory, one chip")
  memory, bound, flops = made["memory"], made["bound"], made["flops"]
  for kind, count in memory.items():
    yield row(kind, amount(count, "B", 1024))
  yield from ("", "work of a step")
  yield row("model FLOPs, all chips", amount(flops["model"], "FLOP"))
  yield row("model FLOPs, one chip", amount(flops["model_per_chip"], "FLOP"))
  yield row("compiled FLOPs, one chip", amount(flops["compiled_per_chip"], "FLOP"))
  yield row("memory traffic, one chip", amount(made["traffic"], "B"))
  for kind, found in made["collectives"].items():
    sent = f"{amount(found['sent'], 'B')} sent, {found['runs']} run(s)"
    yield row(f"{kind}, one chip", f"{amount(found['bytes'], 'B')}, {sent}")
  yield from ("", "least time of a step")
  for name in ("compute", "memory", "links"):
    yield row(name, f"{1000 * bound[name]:.2f} ms")
  rate = f"{bound['examples_per_second']:,.0f} examples/s, MFU {bound['mfu']:.1%}"
  yield row(f"bound, by {bound['by']}", f"{1000 * bound['seconds']:.2f} ms: at most {rate}")
  if "fitted" in made:
    yield row("largest batch", _largest(made))
  yield from ("", *_constants(made["constants"]), *(f"note: {note}" for note in made["notes"]))


def _largest(made: Mapping[str, Any]) -> str:
  batches = " and ".join(f"{batch:,}" for batch in made["fitted"])
  if len(made["fitted"]) == 1:
    return f"not told: only {batches} was compiled"
  if made["largest_batch"] is None:
    return f"not told: batches {batches} take the same"
  return f"{made['largest_batch']:,}, on the line through {batches}; not compiled itself"


def _constants(found: Mapping[str, Any]) -> Iterable[str]:
  yield (
    f"{found['chip']}: {amount(found['flops'], 'FLOP/s')}, memory "
    f"{amount(found['bandwidth'], 'B/s')}, {found['links']} link(s) of "
    f"{amount(found['link'], 'B/s')} each way"
  )
  yield f"source: {found['source']}"


def row(name: str, value: str) -> str:
  """A name and its value in two columns."""
  return f"  {name:<26}{value}"


def amount(count: float, unit: str, base: int = 1000) -> str:
  """A number with a prefix.

  >>> amount(1.5e12, "FLOP"), amount(3 * 2**30, "B", 1024), amount(0, "B")
  ('1.50 TFLOP', '3.00 GiB', '0 B')
  """
  size, steps = float(count), 0
  while abs(size) >= base and steps < 6:
    size, steps = size / base, steps + 1
  if not steps:
    return f"{size:.0f} {unit}"
  return f"{size:.2f} {'kMGTPE'[steps - 1] if base == 1000 else 'KMGTPE'[steps - 1] + 'i'}{unit}"
