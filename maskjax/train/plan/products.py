"""FLOPs of one matrix product or convolution of a compiled program."""

import math
import re
from collections.abc import Sequence

from maskjax.train.plan.hlo import Op, arrays


def flops(op: Op, left: str, right: str) -> int:
  """FLOPs of a `dot` or `convolution` whose operands have the types `left` and `right`.

  A product of (m, k) by (k, n) is 2·m·n·k. A convolution counts the pairs of an output and a tap
  that meet an input, neither padding nor the holes of a dilation: compilers for TPUs write batched
  products as dilated convolutions, which have few.
  """
  return _dot(op, left) if op.kind == "dot" else _convolution(op, left, right)


def _dot(op: Op, left: str) -> int:
  shape = arrays(left)[0].shape
  found = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", op.attributes)
  contracted = [int(axis) for axis in found[1].split(",") if axis] if found else []
  outputs = math.prod(arrays(op.type)[0].shape)
  return 2 * outputs * math.prod(shape[axis] for axis in contracted)


def _convolution(op: Op, left: str, right: str) -> int:
  labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", op.attributes)
  if not labels:
    return 0
  inputs, kernel, output = arrays(left)[0].shape, arrays(right)[0].shape, arrays(op.type)[0].shape
  groups = _number("feature_group_count", op) * _number("batch_group_count", op)
  pairs = 1
  for axis in (label for label in labels[2] if label.isdigit()):
    at = int(axis)
    pairs *= meetings(
      inputs[labels[1].index(axis)],
      kernel[labels[2].index(axis)],
      output[labels[3].index(axis)],
      stride=_window(op, "stride", at, 1),
      pad=_window(op, "pad", at, 0),
      input_dilation=_window(op, "lhs_dilate", at, 1),
      kernel_dilation=_window(op, "rhs_dilate", at, 1),
    )
  channels = inputs[labels[1].index("f")] * kernel[labels[2].index("o")]
  return 2 * pairs * inputs[labels[1].index("b")] * channels // groups


def meetings(
  inputs: int,
  taps: int,
  outputs: int,
  *,
  stride: int = 1,
  pad: int = 0,
  input_dilation: int = 1,
  kernel_dilation: int = 1,
) -> int:
  """Pairs of an output and a tap along one axis that meet an input.

  >>> meetings(8, 3, 6), meetings(8, 3, 8, pad=1)
  (18, 22)
  >>> meetings(16, 16, 16, stride=15, input_dilation=16)
  16
  """
  end = (inputs - 1) * input_dilation + 1
  return sum(
    1
    for output in range(outputs)
    for tap in range(taps)
    if 0 <= (at := output * stride - pad + tap * kernel_dilation) < end and not at % input_dilation
  )


def _number(name: str, op: Op) -> int:
  found = re.search(rf"{name}=(\d+)", op.attributes)
  return int(found[1]) if found else 1


def _window(op: Op, field: str, axis: int, usual: int) -> int:
  """One axis of a field of `window={size=3x3 stride=2x2 pad=1_1x1_1}`; of a pad its start."""
  window = re.search(r"window=\{([^}]*)\}", op.attributes)
  found = re.search(rf"\b{field}=(\S+)", window[1]) if window else None
  if not found:
    return usual
  parts: Sequence[str] = found[1].split("x")
  return int(parts[axis].split("_")[0])
