"""Seconds to compile MAE's train step, beside the same step written in flax and optax alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from maskjax.bench import harness, mae_step
from maskjax.bench.harness import Contender, Line, Results, Row, Size, at_most
from maskjax.bench.steps import RATIO
from maskjax.select import count_of


class Block(nn.Module):
  """A pre-norm transformer block."""

  heads: int

  @nn.compact
  def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
    """Attention and MLP, each added to what came in."""
    b, n, width = x.shape
    joint = nn.Dense(3 * width)(nn.LayerNorm()(x)).reshape(b, n, 3, self.heads, -1)
    q, k, v = jnp.moveaxis(joint, (2, 3), (0, 2))
    weights = nn.softmax(q @ jnp.swapaxes(k, -1, -2) * q.shape[-1] ** -0.5)
    mixed = jnp.swapaxes(weights @ v, 1, 2).reshape(b, n, width)
    x = x + nn.Dense(width)(mixed)
    up = nn.gelu(nn.Dense(4 * width)(nn.LayerNorm()(x)), approximate=False)
    return x + nn.Dense(width)(up)


class Plain(nn.Module):
  """A masked autoencoder: the loss of random patches that it does not see."""

  size: Size

  @nn.compact
  def __call__(self, patches: Float[Array, "b n p"], key: Array) -> Float[Array, ""]:
    """The mean squared error on hidden patches, normalised one by one."""
    s, (b, n, _) = self.size, patches.shape
    keep = n - count_of(n, ratio=RATIO)
    order = jnp.argsort(jax.random.uniform(key, (b, n)), axis=-1)
    normal, wide = nn.initializers.normal(0.02), s["decoder_width"]
    token = lambda name, width: self.param(name, normal, (1, 1, width), jnp.float32)
    table = lambda name, width: self.param(name, normal, (1, n, width), jnp.float32)
    take = lambda x, index: jnp.take_along_axis(x, index[..., None], axis=1)
    x = take(nn.Dense(s["width"])(patches) + table("places", s["width"]), order[:, :keep])
    x = jnp.concatenate([jnp.broadcast_to(token("class", s["width"]), (b, 1, s["width"])), x], 1)
    for _ in range(s["depth"]):
      x = Block(s["heads"])(x)
    x = nn.Dense(wide)(nn.LayerNorm()(x))
    hidden = jnp.broadcast_to(token("mask", wide), (b, n - keep, wide))
    every = take(jnp.concatenate([x[:, 1:], hidden], 1), jnp.argsort(order, axis=-1))
    x = jnp.concatenate([x[:, :1], every + table("decoder_places", wide)], 1)
    for _ in range(s["decoder_depth"]):
      x = Block(s["decoder_heads"])(x)
    told = nn.Dense(patches.shape[-1])(nn.LayerNorm()(x))[:, 1:]
    mean, var = (f(patches, axis=-1, keepdims=True) for f in (jnp.mean, jnp.var))
    error = jnp.square(told - (patches - mean) / jnp.sqrt(var + 1e-6)).mean(-1)
    return take(error[..., None], order[:, keep:]).mean()


def plain(size: Size) -> Mapping[str, Any]:
  """The plain step traced, lowered and compiled, not run."""
  # Before anything compiles: jax looks at it once.
  jax.config.update("jax_enable_compilation_cache", False)
  model, rule = Plain(size), optax.adamw(1e-4, b2=0.95, weight_decay=0.05)
  count = (size["image"] // size["patch"]) ** 2
  shape = size["batch"], count, 3 * size["patch"] ** 2
  patches, key = jax.ShapeDtypeStruct(shape, jnp.float32), jax.eval_shape(lambda: jax.random.key(0))
  variables = jax.eval_shape(model.init, key, patches, key)
  state = variables, jax.eval_shape(rule.init, variables)

  @jax.jit
  def step(state: Any, patches: Array, key: Array) -> Any:
    variables, kept = state
    loss, grads = jax.value_and_grad(model.apply)(variables, patches, key)
    updates, kept = rule.update(grads, kept, variables)
    return (optax.apply_updates(variables, updates), kept), loss, optax.tree.norm(grads)

  def run() -> None:
    jax.clear_caches()
    step.lower(state, patches, key).compile()

  parameters = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(variables))
  return {"run": run, "warm": False, "facts": {"parameters": parameters}}


def report(size: Size, results: Results) -> tuple[Sequence[Line], Sequence[str]]:
  """Seconds."""
  ours, peer = (harness.median(results, name) for name in ("maskjax", "flax"))
  line = Line("s", ours, peer, harness.over(ours, peer), at_most(1.1))
  trained = f"{results['flax'].facts['parameters']:,}"
  return [line], [f"traced, lowered and compiled; the plain step trains {trained} parameters"]


ROW = Row(
  name="compile_plain",
  what="compile time of MAE's train step, ViT-S/16, f32, beside flax and optax alone",
  contenders=[
    Contender("maskjax", "maskjax.bench.compile:compiling"),
    Contender("flax", "maskjax.bench.compile_plain:plain"),
  ],
  sizes=mae_step.SIZES,
  report=report,
)
