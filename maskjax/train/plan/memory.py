"""Bytes of a device's memory by what they hold, and the batch up to which they suffice."""

import math
from collections.abc import Mapping
from typing import Any

import jax

from maskjax.train.plan.program import Step


def kinds(step: Step, compiled: Any) -> dict[str, int]:
  """Bytes on one device by kind; they add up to what the compiled step takes."""
  state, found = step.state, compiled.memory_analysis()
  others = {name: leaf for name, leaf in state.variables.items() if name != "params"}
  held = {
    "parameters": shards(state.variables["params"]),
    "optimiser": shards(state.opt_state),
    "EMA parameters": shards(state.ema),
    "other state": shards((others, state.step, state.key)),
    "batch": shards(step.batch),
  }
  return held | {
    # What the layout adds, less the arguments that the step does not look at.
    "padding": found.argument_size_in_bytes - sum(held.values()),
    "temporaries": found.temp_size_in_bytes,
    "results": found.output_size_in_bytes - found.alias_size_in_bytes,
    "program": found.generated_code_size_in_bytes,
  }


def shards(tree: Any) -> int:
  """Bytes of a tree of sharded shapes on one device."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  )


def second_batches(memory: Mapping[str, int], batch: int, unit: int) -> list[int]:
  """Batches to compile beside the first, the next where one is refused.

  The first is where memory would end were all temporaries in proportion to the batch; it is halved
  while it is above `batch`. Last comes half of `batch` itself.

  >>> memory = dict(temporaries=30, batch=10, total=100, limit=200)
  >>> second_batches(memory, batch=16, unit=8), second_batches(memory, batch=8, unit=8)
  ([56, 24, 8], [24])
  """
  grows = memory["temporaries"] + memory["batch"]
  room = memory["limit"] - memory["total"] + grows
  guess, found = int(batch * room / grows) // unit * unit, []
  while guess > batch:
    found.append(guess)
    guess = guess // 2 // unit * unit
  half = batch // 2 // unit * unit
  return [*found, half] if half else found


def largest_batch(taken: Mapping[int, int], memory: int, unit: int) -> int | None:
  """The largest batch, a multiple of `unit`, on the line through what two batches take.

  None where more examples do not take more, and 0 where not even one unit fits.

  >>> largest_batch({8: 1000, 16: 1400}, memory=2010, unit=8)
  24
  """
  (small, low), (large, high) = sorted(taken.items())
  slope = (high - low) / (large - small)
  if slope <= 0:
    return None
  return max(int(small + (memory - low) / slope) // unit * unit, 0)
