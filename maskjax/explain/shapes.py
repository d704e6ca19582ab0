"""Masks of a few shapes, all of one area: can a network's answer tell them apart?"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from maskjax.errors import BadInput
from maskjax.select import top

SHAPES = ("disc", "square", "diamond", "cross", "triangle")


def shapes(grid: tuple[int, int], *, share: float) -> Bool[Array, "s n"]:
  """Hides one of `SHAPES` each in the middle of a grid, exactly `share` of its positions.

  Raises:
    BadInput: a share that is not in (0, 1), or a grid of other than two axes.

  >>> shapes((5, 5), share=0.2)[3].reshape(5, 5).astype(int).tolist()[2]
  [0, 1, 1, 1, 0]
  """
  if len(grid) != 2 or not 0 < share < 1:
    raise BadInput(f"shapes cover a share in (0, 1) of a grid (h, w), got {share} of {grid}")
  h, w = grid
  y, x = (i - (side - 1) / 2 for i, side in zip(np.indices(grid), grid, strict=True))
  high, wide, arm = np.abs(y), np.abs(x), np.sqrt(share * h * w) / 2
  far = {
    "disc": np.hypot(y, x),
    "square": np.maximum(high, wide),
    "diamond": high + wide,
    "cross": np.maximum(np.minimum(high, wide), np.maximum(high, wide) - arm),
    "triangle": np.maximum(wide * 2 - y, y),
  }
  scores = -np.stack([far[name] for name in SHAPES]).reshape(len(SHAPES), -1)
  return jax.jit(top, static_argnames="count")(jnp.asarray(scores), count=round(share * h * w))
