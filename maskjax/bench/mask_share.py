"""How much of the MAE step goes into choosing masks and applying them."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from maskjax import hide, score, select
from maskjax.bench import harness, mae_step, steps
from maskjax.bench.harness import Contender, Line, Results, Row, Size, at_most
from maskjax.hide.drop import Seen
from maskjax.keys import keys, stream
from maskjax.select import count_of

HERE = "maskjax.bench.mask_share"
# By its name: the package has a function that is called the same.
network = importlib.import_module("maskjax.model.masked_decoder")


def without(size: Size) -> Mapping[str, Any]:
  """The step with one mask for all: the first patches are seen, by slices in place of gathers."""
  chosen = {"fn": f"{HERE}:last", "ratio": steps.RATIO}
  plain: dict[str, Any] = {
    "score": {"fn": f"{HERE}:nothing"},
    "select": chosen,
    "hide": {"fn": f"{HERE}:first"},
  }
  run = steps.stepping(steps.parts(size, **plain), size)
  # The first run traces the step, and later ones are compiled.
  with mock.patch.object(network, "restore", behind):
    run()
  return {"run": run, "before": run}


def nothing(keys: Key[Array, "b"], grid: tuple[int, ...]) -> Float[Array, "b n"]:
  """Scores that nobody looks at."""
  return jnp.zeros((*keys.shape, grid[0] * grid[1]))


def last(scores: Float[Array, "*b n"], *, ratio: float) -> Bool[Array, "*b n"]:
  """Hides the last positions, whatever their scores."""
  n = scores.shape[-1]
  return jnp.broadcast_to(jnp.arange(n) >= n - count_of(n, ratio=ratio), scores.shape)


def first(x: Float[Array, "b n d"], hidden: Array, *, keep: int) -> Seen:
  """`hide.drop` for a mask that hides the last positions."""
  shape = (*x.shape[:-2], keep)
  index = jnp.broadcast_to(jnp.arange(keep, dtype=jnp.int32), shape)
  return Seen(x[..., :keep, :], index, jnp.ones(shape, jnp.bool_), hidden)


def behind(
  tokens: Float[Array, "b k d"], hidden: Bool[Array, "b n"], fill: Array
) -> Float[Array, "b n d"]:
  """`hide.restore` for such a mask."""
  *batch, keep, width = tokens.shape
  absent = jnp.broadcast_to(fill, (*batch, hidden.shape[-1] - keep, width))
  return jnp.concatenate([tokens, absent], axis=-2)


def alone(size: Size) -> Mapping[str, Any]:
  """Choosing masks, dropping patches and putting tokens back, forward and backward."""
  side = size["image"] // size["patch"]
  data = steps.batch(size)
  pixels, fill = jnp.ones((size["batch"], side**2, 3 * size["patch"] ** 2)), jnp.zeros(())
  keep = side**2 - count_of(side**2, ratio=steps.RATIO)
  tokens = jnp.ones((size["batch"], keep, size["decoder_width"]))

  def run(key: Array, pixels: Array, tokens: Array, fill: Array) -> Any:
    drawn = keys(stream(key, "mask", 0), data["position"])
    hidden = select.top(score.uniform(drawn, (side, side)), ratio=steps.RATIO)
    seen = hide.drop(pixels, hidden, keep=keep)
    full, back = jax.vjp(lambda t, f: hide.restore(t, hidden, f), tokens, fill)
    return seen, full, back(full)

  called = steps.calling(jax.jit(run), jax.random.key(0), pixels, tokens, fill)
  return {"run": called, "times": size["times"]}


def report(size: Size, results: Results) -> tuple[Sequence[Line], Sequence[str]]:
  """Percent of the step."""
  whole, rest, part = (harness.median(results, name) for name in ("step", "without", "alone"))
  share = 100 * (whole - rest) / whole
  note = f"{1000 * whole:.1f} ms with, {1000 * rest:.1f} ms without; by itself, outside the step, "
  took = f"it takes {1000 * part:.2f} ms, {100 * part / whole:.1f} %"
  return [Line("% of the step", share, None, None, at_most(2, "%", of_ratio=False))], [note + took]


ROW = Row(
  name="mask_share",
  what="share of the MAE step that goes into choosing and applying masks",
  contenders=[
    Contender("step", "maskjax.bench.mae_step:step"),
    Contender("without", f"{HERE}:without"),
    Contender("alone", f"{HERE}:alone"),
  ],
  sizes={name: {**size, "times": 5} for name, size in mae_step.SIZES.items()},
  report=report,
)
