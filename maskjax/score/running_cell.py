"""Cells of a frame whose entries take turns from one time to the next."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from maskjax.errors import BadInput


def running_cell(
  keys: Key[Array, "*b"], grid: tuple[int, ...], *, size: Sequence[int] = (2, 2)
) -> Float[Array, "*b n"]:
  r"""Scores that run through the entries of a cell, one further at each time, from a random one.

  $s_{t,e} = ((e + t + p) \bmod m) / m$ for entry e of the m in a cell, row by row, the same in all
  cells of a frame. The top half are two of four entries next to each other in this order; m times
  later each was chosen as often.

  Args:
    keys: one for each clip, from which p is drawn.
    grid: positions along time and the axes of a frame.
    size: entries along each axis of a cell.

  Raises:
    BadInput: cells that do not fill the frame.

  Source: Wang et al. 2023 (VideoMAE V2), section 3.2; the code's `RunningCellMaskingGenerator`.

  >>> scores = running_cell(jax.random.key(0), (4, 2, 2)).reshape(4, 4)
  >>> bool((scores[1:, :-1] == scores[:-1, 1:]).all()), sorted(scores[0].tolist())
  (True, [0.0, 0.25, 0.5, 0.75])
  """
  times, *frame = grid
  if len(size) != len(frame) or any(g % s for g, s in zip(frame, size, strict=True)):
    raise BadInput(f"cells of {tuple(size)} do not fill a frame of {tuple(frame)}")
  m = math.prod(size)
  cell = np.arange(m).reshape(size)
  entry = np.tile(cell, [g // s for g, s in zip(frame, size, strict=True)])
  phase = (np.arange(times).reshape(-1, *[1] * len(frame)) + entry).reshape(-1)
  draw = lambda key: jax.random.randint(key, (), 0, m)
  begin = jax.vmap(draw)(keys.reshape(-1)).reshape(*keys.shape, 1)
  return ((jnp.asarray(phase) + begin) % m).astype(jnp.float32) / m
