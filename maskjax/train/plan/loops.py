"""How often the loops of a compiled program run."""

import re

from maskjax.train.plan.hlo import Computation, Op, Program, called


def trips(loop: Op, caller: Computation, program: Program) -> int | None:
  """Passes of a `while` that `caller` holds; None where the program does not tell.

  The compiler's own word counts where it left one. Else the condition must compare an element of
  the loop's state with a constant; the element starts at the constant that the caller puts there
  (0 if it is none) and rises by 1, as loops made of scans and `fori_loop` do.
  """
  if known := re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.attributes):
    return int(known[1])
  condition = program.computations[dict(called(loop))["condition"]]
  bound = _bound(condition, program)
  if bound is None:
    return None
  element, limit, inclusive = bound
  return max(limit - _start(loop, element, caller) + inclusive, 0)


def _bound(condition: Computation, program: Program) -> tuple[int, int, bool] | None:
  """Which element of the state is compared, with what, and whether equality still runs."""
  root = next(op for op in condition.values() if op.root)
  sides = [_source(name, condition) for name in root.operands]
  while root.kind == "fusion":
    inner = program.computations[dict(called(root))["calls"]]
    outer = sides
    root = next(op for op in inner.values() if op.root)
    sides = []
    for op in (_source(name, inner) for name in root.operands):
      sides.append(outer[int(op.inside)] if op.kind == "parameter" else op)
  if root.kind != "compare" or len(sides) != 2:
    return None
  direction = re.search(r"direction=(\w+)", root.attributes)
  order = direction[1] if direction else ""
  if order in ("GT", "GE"):
    sides, order = sides[::-1], {"GT": "LT", "GE": "LE"}[order]
  state, limit = sides
  index = re.search(r"index=(\d+)", state.attributes)
  if order not in ("LT", "LE", "NE") or state.kind != "get-tuple-element" or not index:
    return None
  number = _integer(limit)
  return None if number is None else (int(index[1]), number, order == "LE")


def _start(loop: Op, element: int, caller: Computation) -> int:
  state = caller.get(loop.operands[0])
  if state is None or state.kind != "tuple":
    return 0
  return _integer(_source(state.operands[element], caller)) or 0


def _source(name: str, within: Computation) -> Op:
  """What an operation's value comes from, copies and casts looked through."""
  op = within[name]
  while op.kind in ("copy", "convert", "bitcast", "copy-start", "copy-done", "broadcast"):
    if not op.operands or op.operands[0] not in within:
      break
    op = within[op.operands[0]]
  return op


def _integer(op: Op) -> int | None:
  return int(op.inside) if op.kind == "constant" and re.fullmatch(r"-?\d+", op.inside) else None
