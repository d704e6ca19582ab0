"""Weak scaling: plans of one config on ever more chips, each with as many examples as before."""

from collections.abc import Mapping, Sequence
from typing import Any

from maskjax.errors import BadInput
from maskjax.train.plan.report import make_plan
from maskjax.train.plan.table import amount
from maskjax.train.plan.topology import parse

HEAD = ("topology", "chips", "batch", "FLOPs/chip", "sent/chip", "compute", "memory", "links")


def scaling(
  config: Mapping[str, Any],
  note: Mapping[str, Any],
  topologies: Sequence[str],
  per_chip: int | None = None,
) -> list[dict[str, Any]]:
  """One plan for each topology, with `per_chip` examples a chip.

  Where that is not given, `config.batch_size` is the batch of the largest.

  Raises:
    BadInput: see `report.make_plan`; fewer examples than chips.
  """
  chips = [parse(name).devices for name in topologies]
  if not chips:
    raise BadInput("--topologies names none")
  per_chip = config["batch_size"] // max(chips) if per_chip is None else per_chip
  if per_chip < 1:
    raise BadInput(f"{per_chip} examples a chip: config.batch_size is below {max(chips)} chips")
  return [
    make_plan(config, note, name, batch_size=per_chip * count, fit=False)
    for name, count in zip(topologies, chips, strict=True)
  ]


def scaling_table(plans: Sequence[Mapping[str, Any]]) -> str:
  """The plans side by side, in Markdown; times are lower bounds, no measurements."""
  rows = [(*HEAD, "bound", "MFU at most", "memory/chip"), ("---",) * (len(HEAD) + 3)]
  rows += [_row(made) for made in plans]
  return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(made: Mapping[str, Any]) -> tuple[str, ...]:
  start = (made["topology"], f"{made['chips']:,}", f"{made['batch_size']:,}")
  if not made["batch_size"]:
    return (*start, *("does not fit",) * (len(HEAD)))
  bound = made["bound"]
  sent = sum(found["sent"] for found in made["collectives"].values())
  times = (f"{1000 * bound[name]:.2f} ms" for name in ("compute", "memory", "links", "seconds"))
  return (
    *start,
    amount(made["flops"]["compiled_per_chip"], "FLOP"),
    amount(sent, "B"),
    *times,
    f"{bound['mfu']:.0%}",
    amount(made["memory"]["total"], "B", 1024),
  )
