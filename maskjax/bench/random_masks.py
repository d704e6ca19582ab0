"""The masks of a batch of images."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from maskjax import score, select
from maskjax.bench import harness, steps
from maskjax.bench.harness import Contender, Line, Results, Row, Size, at_least
from maskjax.keys import keys, stream


def masks(size: Size) -> Mapping[str, Any]:
  """Masks as the MAE task draws them."""
  draw = jax.jit(lambda key, step, rows: drawn(key, step, rows, size))
  return _work(draw, size)


def noise(size: Size) -> Mapping[str, Any]:
  """The noise alone."""
  draw = lambda key, step, rows: score.uniform(keys(stream(key, "mask", step), rows), _grid(size))
  return _work(jax.jit(draw), size)


def drawn(key: Key[Array, ""], step: Any, rows: Int[Array, "b"], size: Size) -> Bool[Array, "b n"]:
  """One key an example, white noise, the highest hidden."""
  scores = score.uniform(keys(stream(key, "mask", step), rows), _grid(size))
  return select.top(scores, ratio=size["ratio"])


def _grid(size: Size) -> tuple[int, int]:
  return size["side"], size["side"]


def _work(draw: Any, size: Size) -> Mapping[str, Any]:
  rows = jnp.arange(size["batch"], dtype=jnp.int32)
  run = steps.calling(draw, jax.random.key(0), jnp.int32(0), rows)
  return {"run": run, "times": size["times"]}


def report(size: Size, results: Results) -> tuple[Sequence[Line], Sequence[str]]:
  """Milliseconds."""
  ours, peer, alone = (harness.median(results, name) for name in ("maskjax", "torch", "noise"))
  line = harness.milliseconds(ours, peer, at_least(2))
  return [line], [f"limit: the noise alone takes {1000 * alone:.2f} ms"]


ROW = Row(
  name="random_masks",
  what="masks of 4,096 images of 196 patches, 75 % hidden",
  contenders=[
    Contender("maskjax", "maskjax.bench.random_masks:masks"),
    Contender("torch", "peers/random_masks.py:masks", peer=True),
    Contender("noise", "maskjax.bench.random_masks:noise"),
  ],
  sizes={
    "full": dict(batch=4096, side=14, ratio=0.75, times=20),
    "smoke": dict(batch=8, side=4, ratio=0.75, times=1),
  },
  report=report,
)
