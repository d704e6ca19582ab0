"""What a compiled program does in one run on each device, its loops counted by their passes."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from maskjax.train.plan.groups import group
from maskjax.train.plan.hlo import Computation, Op, Program, called, size
from maskjax.train.plan.loops import trips
from maskjax.train.plan.products import flops
from maskjax.train.plan.traffic import traffic

COLLECTIVES = (
  "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all",
  "collective-permute", "collective-broadcast",
)  # fmt: skip


class Collective(NamedTuple):
  """Runs of a collective operation.

  Attributes:
    kind: its name.
    bytes: of one device's operands, in one run.
    members: the devices that one group joins.
    times: how often it runs.
    chain: the same word in all pieces of a collective that a compiler spread over computations.
  """

  kind: str
  bytes: int
  members: tuple[int, ...]
  times: int = 1
  chain: str = ""

  @property
  def sent(self) -> float:
    """Bytes that each device sends in all runs, at least: those of the ring algorithm.

    With n devices: 2·(n - 1)/n of an all-reduce's operand, n - 1 times an all-gather's, (n - 1)/n
    of a reduce-scatter's or an all-to-all's, the operand of a permutation.

    >>> Collective("all-reduce", 800, (0, 1, 2, 3), 2).sent
    2400.0
    """
    n = len(self.members)
    part = (n - 1) / n
    once = {"all-reduce": 2 * part, "all-gather": n - 1.0, "collective-permute": float(n > 1)}
    return self.times * self.bytes * once.get(self.kind, part)


class Cost(NamedTuple):
  """What one device does in one run of a program.

  Attributes:
    flops: of matrix products and convolutions, and of kernels that tell theirs.
    traffic: bytes read from and written to its memory.
    collectives: what it exchanges with others.
    unknown: loops whose passes the program does not tell, counted once.
    untold: runs of kernels that do not tell their FLOPs, of which none are counted.
  """

  flops: int = 0
  traffic: int = 0
  collectives: tuple[Collective, ...] = ()
  unknown: int = 0
  untold: int = 0


def cost(program: Program) -> Cost:
  """Adds up a program from its entry on; of a conditional the branch with most FLOPs counts."""
  return _computation(program.entry, program)


def _computation(name: str, program: Program, fused: bool = False) -> Cost:
  computation = program.computations[name]
  parts = [
    part for op in computation.values() for part in _operation(op, computation, program, fused)
  ]
  found: dict[object, Collective] = {}
  for part in parts:
    for collective in part.collectives:
      found.setdefault(collective.chain or len(found), collective)
  collectives = tuple(found.values())
  if "all-reduce-scatter" in name:  # A TPU's way to write it: reduce, then take one's part.
    collectives = tuple(c._replace(kind="reduce-scatter") for c in collectives)
  if not fused:
    collectives = tuple(c._replace(chain="") for c in collectives)
  return Cost(
    sum(part.flops for part in parts),
    sum(part.traffic for part in parts),
    collectives,
    sum(part.unknown for part in parts),
    sum(part.untold for part in parts),
  )


def _operation(op: Op, within: Computation, program: Program, fused: bool) -> Iterator[Cost]:
  """What an operation does itself, and what the computations that it calls do."""
  if not fused:
    yield Cost(traffic=traffic(op, within, program))
  names = dict(called(op))
  types = [within[name].type if name in within else "" for name in op.operands]
  kind = op.kind.removesuffix("-start")
  if op.kind in ("dot", "convolution"):
    yield Cost(flops=flops(op, *types[:2]))
  elif kind in COLLECTIVES:
    yield Cost(collectives=(_collective(op, kind, sum(map(size, types)), program),))
  elif op.kind == "custom-call" and "tpu_custom_call" in op.attributes:
    told = re.search(r'"cost_estimate":\{"flops":"(\d+)"', op.attributes)
    yield Cost(flops=int(told[1])) if told else Cost(untold=1)
  elif op.kind == "while":
    times = trips(op, within, program)
    body = _computation(names["body"], program)
    yield _times(body, 1 if times is None else times)._replace(
      unknown=body.unknown + (times is None)
    )
  elif op.kind == "conditional":
    branches = [_computation(name, program) for key, name in called(op) if "comput" in key]
    yield max(branches, key=lambda branch: (branch.flops, branch.traffic))
  elif op.kind == "fusion":
    yield _computation(names["calls"], program, fused=True)
  elif op.kind in ("call", "async-start"):
    yield _computation(names.get("calls") or names["to_apply"], program, fused)


def _collective(op: Op, kind: str, size: int, program: Program) -> Collective:
  chained = re.search(r"(?:chain_id|async_collective_name)=", op.attributes)
  channel = re.search(r"channel_id=(\d+)", op.attributes)
  chain = channel[1] if chained and channel else ""
  return Collective(kind, size, group(op, program.devices), chain=chain)


def _times(part: Cost, times: int) -> Cost:
  collectives = (c._replace(times=c.times * times) for c in part.collectives)
  return part._replace(
    flops=part.flops * times,
    traffic=part.traffic * times,
    untold=part.untold * times,
    collectives=tuple(c for c in collectives if c.times),
  )
