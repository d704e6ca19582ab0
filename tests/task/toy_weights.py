"""Weights of networks from their shapes, drawn by numpy: nothing is compiled for them."""

import jax
import numpy as np


def filled(shapes, scale=0.3):
  """Variables far from what a network begins with: everything counts."""
  rng = np.random.default_rng(0)
  draw = lambda x: rng.normal(0, scale, x.shape).astype(x.dtype)
  return jax.device_put(jax.tree.map(draw, shapes))


def begun(shapes):
  """Variables such as training begins with: kernels by their inputs, no biases, scales of one.

  Tables of positions that are not learned tell these apart from the beginning.
  """
  rng = np.random.default_rng(0)

  def draw(path, x):
    name = path[-1].key
    if name in ("scale", "var", "bias", "mean"):
      return np.full(x.shape, name in ("scale", "var"), x.dtype)
    wide = np.sqrt(np.prod(x.shape[:-1])) if name == "kernel" else 50
    wide = 1.4 if path[0].key == "buffers" else wide
    return (rng.normal(size=x.shape) / wide).astype(x.dtype)

  return jax.device_put(jax.tree_util.tree_map_with_path(draw, shapes))
