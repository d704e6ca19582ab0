"""The step of MAE pretraining, and how much of it is not spent on matrix products."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from maskjax.bench import harness, steps
from maskjax.bench.harness import Contender, Line, Results, Row, Size, at_least
from maskjax.select import count_of
from maskjax.train.state import parameter_count

TORCH = ("torch, eager", "torch, compiled")
GEMM = ("products, XLA", "products, torch")


def step(size: Size) -> Mapping[str, Any]:
  """Our step, as configured in `configs/image_mim/mae.py`.

  A turn, here and of the peers, begins with a step that is not timed: in it comes back what the
  others pushed out of caches and memory.
  """
  built = steps.parts(size)
  facts = {"flops": built.flops, "parameters": parameter_count(built.state.variables)}
  run = steps.stepping(built, size)
  return {"run": run, "before": run, "facts": facts}


def products(size: Size) -> list[tuple[int, int, int, int]]:
  """The dense products of a step: (m, k, n) and how often each is computed.

  Each layer's forward product, that for its input's gradient and that for its weights'. The small
  products inside attention are not among them.
  """
  patches = (size["image"] // size["patch"]) ** 2
  keep = patches - count_of(patches, ratio=steps.RATIO)
  pixels, width, wide = 3 * size["patch"] ** 2, size["width"], size["decoder_width"]
  seen, every = size["batch"] * (keep + 1), size["batch"] * (patches + 1)
  layers = [(size["batch"] * keep, pixels, width, 1), (seen, width, wide, 1)]
  layers += _blocks(seen, width, size["depth"])
  layers += _blocks(every, wide, size["decoder_depth"])
  layers += [(every, wide, pixels, 1)]
  turns = lambda m, k, n, count: [(m, k, n, count), (m, n, k, count), (k, m, n, count)]
  return [product for layer in layers for product in turns(*layer)]


def _blocks(tokens: int, width: int, depth: int) -> list[tuple[int, int, int, int]]:
  inner = [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)]
  return [(tokens, k, n, depth) for k, n in inner]


def prepare(size: Size, folder: pathlib.Path) -> Size:
  """Tells both sides which products to measure."""
  return {**size, "products": products(size)}


def gemm(size: Size) -> Mapping[str, Any]:
  """XLA's time for every product of the step, one after another."""
  pairs = [(jnp.ones((m, k)), jnp.ones((k, n))) for m, k, n, _ in size["products"]]
  calls = [steps.calling(jax.jit(jnp.matmul), *pair) for pair in pairs]
  return {"run": lambda: list(map(steps.seconds, calls))}


def report(size: Size, results: Results) -> tuple[Sequence[Line], Sequence[str]]:
  """Images per second, and the model's FLOPs over what the best products would do in that time."""
  ours, peer = harness.median(results, "maskjax"), harness.fastest(results, TORCH)
  flops = results["maskjax"].facts["flops"]
  each = np.array([2.0 * m * k * n for m, k, n, _ in products(size)])
  often = np.array([count for *_, count in products(size)])
  best = np.min([t for t in (harness.median(results, name) for name in GEMM) if t is not None], 0)
  rate = (often * each).sum() / (often * best).sum()
  share = lambda took: None if took is None else flops / (took * rate)
  parameters = {
    name: found.facts["parameters"]
    for name, found in results.items()
    if "parameters" in found.facts
  }
  lines = [
    Line(
      "images/s",
      size["batch"] / ours,
      harness.over(size["batch"], peer),
      harness.over(peer, ours),
      at_least(1.05),
    ),
    Line("share of GEMM rate", share(ours), share(peer), None, at_least(0.7, "", of_ratio=False)),
  ]
  notes = [
    f"limit: {flops / 1e9:.1f} model GFLOP at the {rate / 1e9:.0f} GFLOP/s of the step's products, "
    f"each by the faster library, take {1000 * flops / rate:.0f} ms; our step {1000 * ours:.0f} ms",
    f"trained parameters: {', '.join(f'{name} {n:,}' for name, n in parameters.items())}",
    f"the best single product reaches {(each / best).max() / 1e9:.0f} GFLOP/s",
  ]
  return lines, notes


SIZES = {
  "full": dict(
    batch=16, image=224, patch=16, width=384, depth=12, heads=6,
    decoder_width=512, decoder_depth=8, decoder_heads=16,
  ),
  "smoke": dict(
    batch=2, image=32, patch=8, width=16, depth=1, heads=2,
    decoder_width=16, decoder_depth=1, decoder_heads=2,
  ),
}  # fmt: skip

ROW = Row(
  name="mae_step",
  what="MAE pretraining step, ViT-S/16 at 224, batch 16, 75 % hidden, AdamW, f32",
  contenders=[
    Contender("maskjax", "maskjax.bench.mae_step:step"),
    Contender(TORCH[0], "peers/mae_step.py:step", peer=True, own={"compiled": False}),
    Contender(TORCH[1], "peers/mae_step.py:step", peer=True, own={"compiled": True}),
    Contender(GEMM[0], "maskjax.bench.mae_step:gemm"),
    Contender(GEMM[1], "peers/mae_step.py:gemm", peer=True),
  ],
  sizes=SIZES,
  report=report,
  prepare=prepare,
)
