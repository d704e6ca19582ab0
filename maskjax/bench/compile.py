"""Seconds to compile the train step of a deep model, layers scanned or one after another."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from maskjax.bench import harness, steps
from maskjax.bench.harness import Contender, Line, Results, Row, Size, at_most

NAMES = "scanned", "written out"


def compiling(size: Size) -> Mapping[str, Any]:
  """The MAE step traced, lowered and compiled, not run."""
  # Before anything compiles: jax looks at it once.
  jax.config.update("jax_enable_compilation_cache", False)
  built = steps.parts(size)
  step: Any = built.step
  lay = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=built.mesh.cut)
  data = jax.tree.map(lay, jax.eval_shape(lambda: steps.batch(size)))

  def run() -> None:
    jax.clear_caches()
    step.lower(built.state, data).compile()

  # What compile time grows with.
  instructions = step.lower(built.state, data).as_text().count("\n")
  return {"run": run, "warm": False, "facts": {"instructions": instructions}}


def report(size: Size, results: Results) -> tuple[Sequence[Line], Sequence[str]]:
  """Seconds."""
  ours, plain = (harness.median(results, name) for name in NAMES)
  lines = [Line("s", ours, plain, harness.over(ours, plain), at_most(0.4))]
  lengths = (f"{name} {results[name].facts['instructions']:,}" for name in NAMES)
  return lines, [f"lines of StableHLO: {', '.join(lengths)}"]


ROW = Row(
  name="compile",
  what="compile time of ViT-L's MAE train step, layers scanned against written out",
  contenders=[
    Contender(name, "maskjax.bench.compile:compiling", own={"scan": name == NAMES[0]})
    for name in NAMES
  ],
  sizes={
    "full": dict(batch=16, image=224, patch=16, size="L", dtype="bfloat16"),
    "smoke": dict(batch=2, image=16, patch=8, width=8, depth=2, heads=2, decoder_width=8,
      decoder_depth=1, decoder_heads=2),
  },
  report=report,
  most=2,
)  # fmt: skip
