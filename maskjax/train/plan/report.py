"""The plan of a config on a topology: its figures, as a table and as JSON."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from maskjax.train.plan import hlo
from maskjax.train.plan.cost import Collective, Cost, cost
from maskjax.train.plan.devices import coordinates, devices_of
from maskjax.train.plan.memory import kinds, largest_batch, second_batches
from maskjax.train.plan.program import Step, TooBig, compile_step, make
from maskjax.train.plan.roofline import Bounds, link_seconds
from maskjax.train.plan.table import table
from maskjax.train.plan.topology import Topology, parse

__all__ = ["make_plan", "table", "to_json"]

# Kinds of memory that only the compiler of the machine itself knows.
UNTOLD = ("padding", "temporaries", "results", "program")
UNSEEN = (
  "compiled for simulated CPU devices: what the partitioned program holds and sends, not the GPU's "
  "fusion, temporaries, cuDNN; collectives of bf16 may be counted as f32; memory time is that of "
  "state and batch read and results written once"
)


def make_plan(
  config: Mapping[str, Any],
  note: Mapping[str, Any],
  topology: str,
  *,
  batch_size: int | None = None,
  fit: bool = True,
) -> dict[str, Any]:
  """The figures of a plan, of a batch of another size where one is given.

  A batch that does not fit is halved until it does. `fit` compiles for a second batch size, through
  which the line to the largest batch goes.

  Raises:
    BadInput: an unknown topology, a missing compiler, or whatever in the config cannot work.
  """
  machine = parse(topology)
  devices = devices_of(machine)
  asked = batch_size or config["batch_size"]
  begun, refused = time.perf_counter(), ""
  step = make(config, note, devices, asked)
  while True:
    try:
      compiled = compile_step(step)
      break
    except TooBig as error:
      refused = refused or str(error)
      smaller = step.batch_size // 2 // step.unit * step.unit
      if not smaller:
        return _hopeless(machine, step, asked, refused)
      step = make(config, note, devices, smaller)
  seconds = time.perf_counter() - begun
  made = _figures(machine, step, compiled)
  made |= {"batch_asked": asked, "refused": refused, "compile_seconds": round(seconds, 1)}
  if fit and machine.family != "gpu":
    build = lambda batch: make(config, note, devices, batch)
    made |= _largest(build, step, made["memory"])
  return made | {"verdict": verdict(made)}


def to_json(made: Mapping[str, Any]) -> str:
  """The figures as JSON: bytes, FLOPs and seconds, of one chip unless their name says otherwise."""
  return json.dumps(made, indent=2)


def _figures(machine: Topology, step: Step, compiled: Any) -> dict[str, Any]:
  done = cost(hlo.parse(compiled.as_text()))
  memory, chip = kinds(step, compiled), machine.chip
  gpu = machine.family == "gpu"
  if gpu:
    memory = {kind: n for kind, n in memory.items() if kind not in UNTOLD}
    done = done._replace(traffic=_passed(compiled))
  flops = chip.flops32 if step.dtype.name == "float32" else chip.flops
  places = [coordinates(device, i) for i, device in enumerate(step.mesh.mesh.devices.flat)]
  links = link_seconds(done.collectives, machine, places)
  bounds = Bounds(done.flops / flops, done.traffic / chip.bandwidth, links)
  return {
    "topology": machine.name,
    "chips": machine.devices,
    "mesh": {"preset": step.mesh.preset, **dict(step.mesh.mesh.shape)},
    "dtype": step.dtype.name,
    "batch_size": step.batch_size,
    "memory": {**memory, "total": sum(memory.values()), "limit": chip.memory},
    "flops": {
      "model": step.flops,
      "model_per_chip": step.flops / machine.devices,
      "compiled_per_chip": done.flops,
    },
    "traffic": done.traffic,
    "collectives": collectives(done.collectives),
    "bound": {
      **bounds._asdict(),
      "seconds": bounds.seconds,
      "by": bounds.by,
      # 3 · forward counts gradients of the data too, which no program computes.
      "mfu": min(1.0, step.flops / (machine.devices * flops * bounds.seconds)),
      "examples_per_second": step.batch_size / bounds.seconds,
    },
    "constants": {
      "chip": chip.name,
      "flops": flops,
      "bandwidth": chip.bandwidth,
      "link": chip.link,
      "links": machine.links(range(len(machine.shape))),
      "source": chip.source,
    },
    "notes": _notes(done, gpu),
  }


def _passed(compiled: Any) -> int:
  found = compiled.memory_analysis()
  return found.argument_size_in_bytes + found.output_size_in_bytes


def _notes(done: Cost, gpu: bool) -> list[str]:
  notes = [UNSEEN] if gpu else []
  if done.unknown:
    notes.append(f"{done.unknown} loop(s) of unknown length counted once: figures are lower bounds")
  if done.untold:
    notes.append(f"FLOPs of {done.untold} run(s) of kernels are not known: compute is more")
  return notes


def collectives(found: Sequence[Collective]) -> dict[str, dict[str, float]]:
  """Runs, operands' bytes and bytes sent of one chip, by kind.

  >>> collectives([Collective("all-reduce", 8, (0, 1), 3), Collective("all-reduce", 8, (0, 1), 1)])
  {'all-reduce': {'runs': 4, 'bytes': 32, 'sent': 32.0}}
  """
  result: dict[str, dict[str, float]] = {}
  for one in sorted(found):
    row = result.setdefault(one.kind, {"runs": 0, "bytes": 0, "sent": 0.0})
    row["runs"] += one.times
    row["bytes"] += one.times * one.bytes
    row["sent"] += one.sent
  return result


def _largest(build: Callable[[int], Step], step: Step, memory: Mapping[str, int]) -> dict[str, Any]:
  """The largest batch by the line through two compiles, below any that the compiler refused."""
  below = None
  for other in second_batches(memory, step.batch_size, step.unit):
    try:
      second = build(other)
      taken = sum(kinds(second, compile_step(second)).values())
    except TooBig:
      below = other - step.unit
      continue
    points = {step.batch_size: memory["total"], other: taken}
    largest = largest_batch(points, memory["limit"], step.unit)
    if largest is not None and below is not None:
      largest = min(largest, below)
    return {"largest_batch": largest, "fitted": sorted(points)}
  return {"largest_batch": None, "fitted": [step.batch_size]}


def _hopeless(machine: Topology, step: Step, asked: int, refused: str) -> dict[str, Any]:
  made = {
    "topology": machine.name,
    "chips": machine.devices,
    "batch_asked": asked,
    "batch_size": 0,
    "refused": refused,
    "unit": step.unit,
  }
  return made | {"verdict": verdict(made)}


def verdict(made: Mapping[str, Any]) -> str:
  """One line: whether it fits, what limits it, how far a larger batch could go."""
  if not made["batch_size"]:
    return f"does not fit: not even {made['unit']} examples ({made['refused']})"
  memory, bound = made["memory"], made["bound"]
  share = f"{memory['total'] / 2**30:.2f} of {memory['limit'] / 2**30:.2f} GiB a chip"
  if made["refused"]:
    first = f"batch {made['batch_asked']} does not fit ({made['refused']}); "
    first += f"{made['batch_size']} does, {share}"
  elif made["topology"].startswith("gpu"):
    fits = "fit" if memory["total"] < memory["limit"] else "do not fit"
    first = f"state and batch {fits}, {share}, temporaries not counted"
  else:
    first = f"{'fits' if memory['total'] <= memory['limit'] else 'does not fit'}, {share}"
  line = f"{first}; limited by {bound['by']}: at least {1000 * bound['seconds']:.3g} ms a step, "
  line += f"MFU at most {bound['mfu']:.0%}"
  if made.get("largest_batch") is not None:
    line += f"; largest batch about {made['largest_batch']:,}"
  return line
