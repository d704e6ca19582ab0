"""The text of a compiled program as operations: names, types, operands, attributes."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

# Bits of an entry; what is not listed (tokens, opaque handles) takes no memory.
BITS = {
  "pred": 8, "s2": 2, "u2": 2, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16,
  "s32": 32, "u32": 32, "s64": 64, "u64": 64, "f16": 16, "bf16": 16, "f32": 32, "f64": 64,
  "c64": 64, "c128": 128, "f4e2m1fn": 4, "f8e3m4": 8, "f8e4m3": 8, "f8e4m3fn": 8,
  "f8e4m3b11fnuz": 8, "f8e4m3fnuz": 8, "f8e5m2": 8, "f8e5m2fnuz": 8, "f8e8m0fnu": 8,
}  # fmt: skip

_HEAD = re.compile(r"(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_OP = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\(")
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,<=]*)\](\{[^{}]*\})?")
_NAME = re.compile(r"%([\w.\-]+)")


class Array(NamedTuple):
  """One array of a type: its dtype, its shape, and whether it lies in the device's main memory."""

  dtype: str
  shape: tuple[int, ...]
  main: bool

  @property
  def bytes(self) -> int:
    """Bytes of its entries, without what a layout pads."""
    return -(-math.prod(self.shape) * BITS.get(self.dtype, 0) // 8)


class Op(NamedTuple):
  """One operation: `type kind(operands), attributes`."""

  name: str
  kind: str
  type: str
  operands: tuple[str, ...]
  inside: str
  attributes: str
  root: bool


Computation = Mapping[str, Op]


class Program(NamedTuple):
  """All computations of a module by name, the one that runs, and on how many devices."""

  computations: Mapping[str, Computation]
  entry: str
  devices: int


def parse(text: str) -> Program:
  """The program that `compiled.as_text()` prints.

  >>> program = parse('''HloModule m, num_partitions=8
  ...
  ... ENTRY %main (a: f32[4]) -> f32[4] {
  ...   %a = f32[4]{0} parameter(0)
  ...   ROOT %b = f32[4]{0} negate(%a), metadata={op_name="neg"}
  ... }
  ... ''')
  >>> program.entry, program.devices, program.computations["main"]["b"].operands
  ('main', 8, ('a',))
  """
  computations: dict[str, dict[str, Op]] = {}
  entry, current = "", {}
  for line in text.splitlines():
    if line[:1] in ("%", "E") and (head := _HEAD.match(line)):
      current = computations.setdefault(head[1], {})
      entry = head[1] if line.startswith("ENTRY") else entry
    elif op := operation(line):
      current[op.name] = op
  header = text[: text.find("\n")]
  counts = [int(n) for n in re.findall(r"(?:num_partitions|replica_count)=(\d+)", header)]
  return Program(computations, entry, math.prod(counts))


def operation(line: str) -> Op | None:
  """The operation of a line, None where it holds none.

  >>> op = operation("  %s = (f32[2]{0:T(128)}, s32[]) while(%t), condition=%c, body=%b")
  >>> op.kind, op.operands, op.attributes
  ('while', ('t',), 'condition=%c, body=%b')
  """
  found = _OP.match(line)
  if not found:
    return None
  end = closing(line, found.end())
  inside = line[found.end() : end]
  root, name, kind = found[1], found[2], found[4]
  operands = tuple(_NAME.findall(inside)) if kind not in ("constant", "parameter") else ()
  return Op(name, kind, found[3], operands, inside, line[end + 1 :].removeprefix(", "), bool(root))


def closing(text: str, start: int) -> int:
  """Where the parenthesis closes that was opened just before `start`.

  >>> closing("f(a(b)c) d", 2)
  7
  """
  depth = 1
  for found in re.finditer(r"[()]", text[start:]):
    depth += 1 if found[0] == "(" else -1
    if not depth:
      return start + found.start()
  return len(text)


def arrays(type_: str) -> list[Array]:
  """The arrays of a type, tuples laid open; `S(n)` in a layout is a memory beside the main one.

  >>> [a.bytes for a in arrays("(bf16[2,3]{1,0:T(8,128)(2,1)S(1)}, pred[])")]
  [12, 1]
  >>> arrays("bf16[2]{0:T(128)S(1)}")[0].main
  False
  """
  return [
    Array(
      dtype,
      tuple(int(n.removeprefix("<=")) for n in shape.split(",") if n),
      not re.search(r"S\([1-9]", layout),
    )
    for dtype, shape, layout in _ARRAY.findall(type_)
  ]


def size(type_: str) -> int:
  """Bytes of all arrays of a type.

  >>> size("(f32[4]{0}, s32[])")
  20
  """
  return sum(array.bytes for array in arrays(type_))


def called(op: Op) -> Iterator[tuple[str, str]]:
  """The computations that an operation names, with the attribute that names each.

  >>> op = operation("  %s = s32[] while(%t), condition=%c, body=%b")
  >>> list(called(op))
  [('condition', 'c'), ('body', 'b')]
  """
  for key, several, one in re.findall(r"([\w_]+)=(?:\{(%[^}]*)\}|%([\w.\-]+))", op.attributes):
    for name in _NAME.findall(several) if several else [one]:
      yield key, name
