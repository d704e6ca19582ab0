"""Histograms of oriented gradients as a target, in cells of any size."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from maskjax.errors import BadInput
from maskjax.over import Over
from maskjax.over.cut import patch_grid, patchify, unpatchify
from maskjax.record import Record


def hog(
  image: Float[Array, "*b h w c"], grid: tuple[int, ...], *, scale: float = 1.0, bins: int = 9
) -> Float[Array, "*b n p"]:
  r"""Histograms of oriented gradients of each channel, for each cell of an image.

  $h_j = \frac1{|C|} \sum_{i \in C} \lVert g_i \rVert\, [\lfloor b\,\phi_i / \pi \rfloor = j]$ over
  the pixels of a cell C, then $h / \lVert h \rVert$: Sobel gradients g of the image, mirrored at
  its borders, vote for one of b bins by their angle $\phi$, modulo $\pi$.

  Args:
    image: any number of channels, each by itself.
    grid: positions along each axis.
    scale: cells along a side of a position: 2 for four cells in each, 1/2 for one in four.
    bins: b, of angles.

  Returns:
    At n = prod(grid) positions what `at_grid` tells of these histograms, bins last.

  Raises:
    BadInput: cells that the grid or the image does not divide into.

  >>> image = jnp.zeros((4, 4, 1)) + jnp.arange(4.0)[:, None]  # brighter to the right
  >>> hog(image, (1, 1), bins=4).tolist()
  [[0.0, 0.0, 1.0, 0.0]]

  Sources: Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", 2005; the code
  of Wang et al. 2023 (LocalMIM), `HOGLayer`.
  """
  around = [(0, 0)] * (image.ndim - 3) + [(1, 1), (1, 1), (0, 0)]
  x = jnp.pad(image.astype(jnp.float32), around, mode="reflect")
  tall = x[..., :-2, :, :] + 2 * x[..., 1:-1, :, :] + x[..., 2:, :, :]
  wide = x[..., :-2, :] + 2 * x[..., 1:-1, :] + x[..., 2:, :]
  across = tall[..., :-2, :] - tall[..., 2:, :]
  down = wide[..., :-2, :, :] - wide[..., 2:, :, :]
  angle = jnp.floor(jnp.arctan2(across, down) / math.pi * bins) % bins
  size = jnp.sqrt(across * across + down * down)
  votes = jnp.where(angle[..., None] == jnp.arange(bins), size[..., None], 0)
  *b, h, w, c = image.shape
  cells = tuple(int(g * scale) for g in grid)
  if any(g * scale % 1 for g in grid):
    raise BadInput(f"grid {tuple(grid)} times {scale} is not a number of cells")
  sides = patch_grid((h, w), cells)
  cut = patchify(votes.reshape(*b, h, w, c * bins), sides)
  mean = cut.reshape(*b, *cells, math.prod(sides), c, bins).mean(axis=-3)
  norm = jnp.sqrt(jnp.sum(mean * mean, axis=-1, keepdims=True))
  return at_grid((mean / jnp.maximum(norm, 1e-12)).reshape(*b, *cells, c * bins), grid)


def at_grid(cells: Float[Array, "*b_cells c"], grid: tuple[int, ...]) -> Float[Array, "*b n p"]:
  """Cells at the positions of another grid: all that lie in a position, or the one it lies in.

  A mean over asked positions then weighs a larger cell by the share of it that is asked.

  Args:
    cells: along each axis a multiple of the positions, or a divisor.
    grid: positions along each axis.

  Raises:
    BadInput: neither.

  >>> at_grid(jnp.arange(4.0).reshape(4, 1), (2,)).tolist()
  [[0.0, 1.0], [2.0, 3.0]]
  >>> at_grid(jnp.arange(2.0).reshape(2, 1), (4,)).tolist()
  [[0.0], [0.0], [1.0], [1.0]]
  """
  first = cells.ndim - 1 - len(grid)
  for axis, many in enumerate(grid, first):
    if cells.shape[axis] < many:
      (times,) = patch_grid((many,), cells.shape[axis : axis + 1])
      cells = jnp.repeat(cells, times, axis=axis)
  return patchify(cells, patch_grid(cells.shape[first:-1], grid))


def hog_colors(
  over: Over, record: Record, *, bins: int = 9, **histograms: Float[Array, "*b n _"]
) -> dict[str, Float[Array, "*b h w c"]]:
  """Histograms at patches as images: hues are angles, white is all alike, black a flat cell.

  Args:
    over: patches of an image.
    record: of the data, as whose pixels colors are normalised.
    bins: of angles.
    **histograms: by name, as `hog` gives them.

  >>> from maskjax.over import patches
  >>> record = Record("image", (4, 6, 3), {}, mean=(0.0,) * 3, std=(1.0,) * 3)
  >>> over = patches(record=record, patch=(2, 2))
  >>> hog_colors(over, record, flat=jnp.zeros((1, 6, 4 * 27)))["flat"].shape
  (1, 4, 6, 3)
  """
  *space, channels = over.shape
  hue = 2 * math.pi * (jnp.arange(bins)[:, None] / bins - jnp.arange(3) / 3)
  palette = (1 + jnp.cos(hue)) / 3

  def drawn(x: Float[Array, "*b n p"]) -> Float[Array, "*b h w c"]:
    side = math.isqrt(x.shape[-1] // (channels * bins))
    cells = unpatchify(x, (side, side), over.grid, channels * bins)
    mean = cells.reshape(*cells.shape[:-1], channels, bins).mean(axis=-2)
    colors = jnp.clip(mean @ palette, 0, 1)
    for axis, size in zip((-3, -2), patch_grid(space, cells.shape[-3:-1]), strict=True):
      colors = jnp.repeat(colors, size, axis=axis)
    shown = colors if channels == 3 else colors.mean(axis=-1, keepdims=True)
    return (shown - jnp.asarray(record.mean)) / jnp.asarray(record.std)

  return {name: drawn(x) for name, x in histograms.items()}
