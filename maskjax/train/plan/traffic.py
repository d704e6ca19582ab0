"""Bytes that one operation of a compiled program reads from and writes to a device's memory."""

from maskjax.train.plan.hlo import Computation, Op, Program, arrays, called, size

# These name memory or start what others do; they move nothing themselves.
STILL = frozenset({
  "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call",
  "after-all", "partition-id", "replica-id", "opt-barrier", "optimization-barrier", "domain",
  "add-dependency", "async-start", "async-update", "async-done",
})  # fmt: skip
SLICES = ("slice", "dynamic-slice", "gather", "slice-start", "dynamic-slice-start", "copy-start")


def traffic(op: Op, within: Computation, program: Program) -> int:
  """Bytes of main memory that an unfused operation reads and writes.

  Each operand is read once and each result written once; a slice reads what it takes, an update in
  place writes what it puts. Memory beside the main one (a TPU's VMEM) is free.

  >>> from maskjax.train.plan.hlo import parse
  >>> program = parse('''HloModule m
  ... ENTRY %m (a: f32[8]) -> f32[2] {
  ...   %a = f32[8]{0} parameter(0)
  ...   ROOT %s = f32[2]{0} slice(%a), slice={[0:2]}
  ... }''')
  >>> main = program.computations["m"]
  >>> traffic(main["s"], main, program)
  16
  """
  if op.kind in STILL or op.kind.endswith("-done") or '"AllocateBuffer"' in op.attributes:
    return 0
  types = [within[name].type if name in within else "" for name in op.operands]
  if op.kind in SLICES:
    return _slice(op, types[0])
  if op.kind == "dynamic-update-slice":
    return 2 * _main(types[1])
  if op.kind in ("broadcast", "iota"):
    return _main(op.type)
  if op.kind == "fusion":
    inner = program.computations[dict(called(op))["calls"]]
    return _fusion(op, types, inner)
  if op.kind.endswith("-start"):
    return 2 * sum(map(_main, types))
  return sum(map(_main, types)) + _main(op.type)


def _slice(op: Op, source: str) -> int:
  result = arrays(op.type)
  if op.kind.endswith("-start"):
    # The type is (source, result, flag), or ((source), result, flag).
    result = result[len(arrays(source)) :][:1]
  moved = sum(array.bytes for array in result)
  return moved * _is_main(source) + sum(array.bytes for array in result if array.main)


def _fusion(op: Op, types: list[str], inner: Computation) -> int:
  users: dict[str, list[Op]] = {}
  for user in inner.values():
    for name in user.operands:
      users.setdefault(name, []).append(user)
  read = 0
  for parameter in (p for p in inner.values() if p.kind == "parameter"):
    source = types[int(parameter.inside)]
    read += min(_read(parameter, users), size(parameter.type)) * _is_main(source)
  root = next(op for op in inner.values() if op.root)
  ends = [inner[name] for name in root.operands] if root.kind == "tuple" else [root]
  places = arrays(op.type)
  if len(ends) != len(places):
    return read + _main(op.type)
  put = (_put(end, inner) for end in ends)
  return read + sum(n for n, place in zip(put, places, strict=True) if place.main)


def _read(parameter: Op, users: dict[str, list[Op]]) -> int:
  """Bytes of a fusion's parameter that its users take."""
  taken = 0
  for user in users.get(parameter.name, []):
    first = user.operands[0] == parameter.name
    if user.kind in ("slice", "dynamic-slice", "gather") and first:
      taken += size(user.type)
    elif user.kind == "bitcast":
      taken += _read(user, users)
    elif not (user.kind == "dynamic-update-slice" and first):
      return size(parameter.type)
  return taken


def _put(end: Op, inner: Computation) -> int:
  while end.kind == "bitcast" and end.operands[0] in inner:
    end = inner[end.operands[0]]
  if end.kind == "dynamic-update-slice" and end.operands[1] in inner:
    return size(inner[end.operands[1]].type)
  return size(end.type)


def _main(type_: str) -> int:
  return sum(array.bytes for array in arrays(type_) if array.main)


def _is_main(type_: str) -> bool:
  return all(array.main for array in arrays(type_))
