"""Self-attention alone, forward and backward."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from maskjax.bench import harness, steps
from maskjax.bench.harness import Contender, Line, Results, Row, Size, at_least
from maskjax.model.attention import attention


def ours(size: Size) -> Mapping[str, Any]:
  """`maskjax.model.attention`, from and to tokens before heads, as the projections have them."""
  shape = size["batch"], size["tokens"], size["heads"], size["width"]
  drawn = [jax.random.normal(key, shape) for key in jax.random.split(jax.random.key(0), 4)]
  return {"run": steps.calling(jax.jit(both), *drawn), "times": size["times"]}


def mixed(
  q: Float[Array, "b n h d"], k: Float[Array, "b n h d"], v: Float[Array, "b n h d"]
) -> Float[Array, "b n h d"]:
  """What every token takes from the others."""
  turned = (jnp.swapaxes(x, -2, -3) for x in (q, k, v))
  return jnp.swapaxes(attention(*turned), -2, -3)


def both(q: Array, k: Array, v: Array, g: Array) -> Any:
  """The result, and the gradients of q, k and v for a gradient of it."""
  out, back = jax.vjp(mixed, q, k, v)
  return out, back(g)


def report(size: Size, results: Results) -> tuple[Sequence[Line], Sequence[str]]:
  """Milliseconds forward and backward."""
  mine, peer = (harness.median(results, name) for name in ("maskjax", "torch sdpa"))
  flops = 6 * 2 * size["batch"] * size["heads"] * size["tokens"] ** 2 * size["width"]
  line = harness.milliseconds(mine, peer, at_least(1))
  return [line], [f"its six products run at {flops / mine / 1e9:.0f} GFLOP/s"]


ROW = Row(
  name="attention",
  what="self-attention forward and backward, 16 x 197 x 16 x 32, f32",
  contenders=[
    Contender("maskjax", "maskjax.bench.attention:ours"),
    Contender("torch sdpa", "peers/attention.py:sdpa", peer=True),
  ],
  sizes={
    "full": dict(batch=16, tokens=197, heads=16, width=32, times=10),
    "smoke": dict(batch=2, tokens=5, heads=2, width=4, times=1),
  },
  report=report,
)
