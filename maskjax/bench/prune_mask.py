"""The mask of a weight matrix's highest scores, exactly so many, and the memory that takes."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8

from maskjax import select
from maskjax.bench import harness, steps
from maskjax.bench.harness import Contender, Line, Results, Row, Size, at_least, at_most

RATIO = 0.2


def search(size: Size) -> Mapping[str, Any]:
  """Our threshold search, as `weights.hold` calls it."""
  return {"run": steps.calling(jax.jit(searched), scores(size)), "times": size["times"]}


def sort(size: Size) -> Mapping[str, Any]:
  """The rule of jaxpruner."""
  return {"run": steps.calling(jax.jit(argsorted), scores(size))}


def once(size: Size) -> Mapping[str, Any]:
  """One counting pass over the scores, of which a search makes several dozen."""
  count = jax.jit(lambda x: jnp.sum(x >= 0.5, dtype=jnp.int32))
  return {"run": steps.calling(count, scores(size)), "times": size["times"]}


def scores(size: Size) -> Float[Array, "n n"]:
  """Magnitudes of normal weights."""
  return jnp.abs(jax.random.normal(jax.random.key(0), (size["side"], size["side"])))


def searched(x: Float[Array, "n n"]) -> Bool[Array, "n n"]:
  """True at the highest scores."""
  return select.top(x, ratio=RATIO, axis=None)


def argsorted(x: Float[Array, "n n"]) -> UInt8[Array, "n n"]:
  """1 at the highest scores: sorts all of them for the place of the last that is kept.

  Source: jaxpruner, `mask_calculator.py`, restated: of scores that tie with that one, those with a
  higher index are left out.
  """
  flat = x.reshape(-1)
  last = jnp.argsort(-flat)[round(RATIO * flat.size) - 1]
  early = (jnp.arange(flat.size) <= last) | (flat != flat[last])
  return ((flat >= flat[last]) & early).reshape(x.shape).astype(jnp.uint8)


def report(size: Size, results: Results) -> tuple[Sequence[Line], Sequence[str]]:
  """Milliseconds, and memory beyond the matrix, in matrices."""
  ours, peer, single = (harness.median(results, name) for name in ("maskjax", "argsort", "pass"))
  bytes_ = 4 * size["side"] ** 2
  extra = {name: harness.over(results[name].extra_bytes, bytes_) for name in results}
  lines = [
    harness.milliseconds(ours, peer, at_least(40)),
    Line(
      "extra memory, matrices",
      extra["maskjax"],
      extra["argsort"],
      None,
      at_most(1, "", of_ratio=False),
    ),
  ]
  note = f"limit: ours takes the time of {ours / single:.0f} counting passes of {1000 * single:.2f}"
  return lines, [f"{note} ms each"]


ROW = Row(
  name="prune_mask",
  what="exact top-20 % mask of a 4096 x 4096 f32 matrix",
  contenders=[
    Contender("maskjax", "maskjax.bench.prune_mask:search"),
    Contender("argsort", "maskjax.bench.prune_mask:sort"),
    Contender("pass", "maskjax.bench.prune_mask:once"),
  ],
  sizes={"full": dict(side=4096, times=5), "smoke": dict(side=32, times=1)},
  report=report,
)
