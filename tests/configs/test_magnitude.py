"""Zhu and Gupta 2017: the smallest weights of each layer go, ever more of them on a cubic curve."""

import jax
import jax.numpy as jnp
import numpy as np

from maskjax import weights
from maskjax.weights.held import Held


def test_the_smallest_weights_of_each_layer_go_on_a_cubic_curve(built):
  made = built("magnitude")
  rng, tx = np.random.default_rng(0), made.optimizer.tx
  draw = lambda leaf: rng.normal(size=leaf.shape).astype(np.float32)
  params = jax.tree.map(draw, made.shapes["params"])
  every = made.config["hold"]["every"]
  steps = [made.total_steps // 4 // every * every, made.total_steps // every * every]

  def at(params, step):
    held = lambda node: isinstance(node, Held)
    moved = lambda node: node._replace(step=step - 1) if held(node) else node
    state = jax.tree.map(moved, tx.init(params), is_leaf=held)
    return weights.masks(tx.update(jax.tree.map(jnp.zeros_like, params), state, params)[1])

  run = jax.jit(lambda p, s: jax.lax.map(lambda step: at(p, step), s))
  masks = jax.device_get(run(params, jnp.int32(steps)))
  for name, kernel in _kernels(params).items():
    hidden = _kernels(masks).get(name)
    if "embed" in name:
      assert hidden is None
      continue
    for mask, step in zip(hidden, steps, strict=True):
      done = min(step / made.total_steps / 0.75, 1)
      assert abs(mask.sum() - 0.8 * (1 - (1 - done) ** 3) * mask.size) <= 1, name
      size = np.abs(kernel)
      assert size[mask].max() <= size[~mask].min(), name


def _kernels(tree):
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {k: np.asarray(x) for p, x in leaves if "kernel" in (k := jax.tree_util.keystr(p))}
