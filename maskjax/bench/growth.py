"""How time grows with batch, tokens and depth, against how the FLOPs grow."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maskjax.bench import harness, steps
from maskjax.bench.harness import Contender, Goal, Line, Results, Row, Size

AXES = ("batch", "tokens", "depth")


def growing(size: Size) -> Mapping[str, Any]:
  """MAE steps of several sizes along one axis; the decoder grows with the encoder's depth."""
  sizes = [along(size, size["axis"], value) for value in size[size["axis"]]]
  built = [steps.parts(one) for one in sizes]
  runs = [steps.stepping(*pair) for pair in zip(built, sizes, strict=True)]
  run = lambda: [min(steps.seconds(run) for _ in range(size["times"])) for run in runs]
  return {"run": run, "facts": {"flops": [one.flops for one in built]}}


def along(size: Size, axis: str, value: int) -> Size:
  """The sizes of one step: all at their base but one."""
  base = {**size, **{name: size["base"][name] for name in AXES}, axis: value}
  shape = {"image": base["patch"] * base["tokens"], "decoder_depth": base["depth"]}
  return {**base, **shape}


def slope(flops: Sequence[float], seconds: Sequence[float]) -> float:
  """The exponent a of the fit seconds = c · FLOPs^a.

  >>> round(slope([1, 2, 4], [3, 6, 12]), 6)
  1.0
  """
  return float(np.polyfit(np.log(flops), np.log(seconds), 1)[0])


def report(size: Size, results: Results) -> tuple[Sequence[Line], Sequence[str]]:
  """The slope along each axis, 1 where time grows as the FLOPs do."""
  lines, notes = [], []
  goal = Goal("1 ± 0.1", 0.9, 1.1, of_ratio=False)
  for axis in AXES:
    flops, took = results[axis].facts["flops"], harness.median(results, axis)
    lines.append(Line(f"{axis}: slope over FLOPs", slope(flops, took), None, None, goal))
    rates = ", ".join(f"{rate / 1e9:.0f}" for rate in np.array(flops) / took)
    notes.append(f"{axis} {list(size[axis])}: {rates} GFLOP/s")
  return lines, notes


def points(results: Results) -> Mapping[str, Any]:
  """For each axis, growth of the FLOPs and of the time, from its smallest."""
  series: dict[str, Any] = {"as the FLOPs": []}
  for axis in AXES:
    flops = np.array(results[axis].facts["flops"])
    took = np.array(results[axis].seconds) / harness.median(results, axis)[0]
    series[axis] = list(zip(flops / flops[0], took.T.tolist(), strict=True))
    series["as the FLOPs"] += [(x, [x]) for x in flops / flops[0]]
  return series


ROW = Row(
  name="growth",
  what="growth of the MAE step's time with batch, tokens and depth, over that of its FLOPs",
  contenders=[
    Contender(axis, "maskjax.bench.growth:growing", own={"axis": axis}) for axis in AXES
  ],
  # Tokens are patches along a side.
  sizes={
    "full": dict(
      patch=16, width=192, heads=3, decoder_width=192, decoder_heads=3, times=3,
      base=dict(batch=8, tokens=8, depth=4),
      batch=(4, 8, 16, 32), tokens=(6, 8, 12, 16), depth=(2, 4, 8, 16),
    ),
    "smoke": dict(
      patch=4, width=8, heads=2, decoder_width=8, decoder_heads=2, times=1,
      base=dict(batch=2, tokens=4, depth=1), batch=(1, 2), tokens=(2, 4), depth=(1, 2),
    ),
  },
  report=report,
  points=points,
)  # fmt: skip
