"""Blocks of a plane as views: several targets, and a context from which they are taken out."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax.errors import BadInput
from maskjax.select.regions import rectangles

Range = tuple[float, float]


class Views(NamedTuple):
  """What is hidden from the one who predicts, and what each view asks of it."""

  hidden: Bool[Array, "*b n"]
  asked: Bool[Array, "v *b n"]


def multiblock(
  uniforms: Float[Array, "*b m"],
  *,
  grid: tuple[int, ...],
  targets: int = 4,
  scale: Range = (0.15, 0.2),
  aspect: Range = (0.75, 1.5),
  context: Range = (0.85, 1.0),
  least: int = 1,
  tied: bool = False,
) -> Views:
  r"""Asks for blocks of one size, and shows what a larger, square block has outside of them.

  Pairs of numbers from [0, 1): one for the targets' size, one for the context's (its share of the
  grid; the other says nothing), one for the corner of each target, and the rest for corners of the
  context to try. Every corner at which a block lies inside the grid is as likely, the last row and
  column among them. The first context that keeps at least `least` positions is taken; where none
  does, the last target is no longer taken out of it, then the last but one, and so on, so that in
  the end nothing may be. `scale`, `aspect` and `tied` are those of `block_size`.

  Args:
    uniforms: m numbers in [0, 1), even, at least 6 + 2 · targets.
    grid: rows and columns.
    targets: v, blocks to predict.
    scale: range of a target's area, as shares of the grid.
    aspect: range of a target's height over its width.
    context: range of the context's area, as shares of the grid.
    least: positions that the context keeps, if it can.
    tied: whether one number says both area and aspect.

  Returns:
    What is hidden from the encoder, and what each target asks.

  Raises:
    BadInput: a grid that is no plane, ranges outside of what there is, no target, or numbers that
      are odd or too few for a corner of the context.

  Sources: Assran et al. 2023 (I-JEPA), section 3; its code, where a block never meets the last row
  or column, and draws new corners of the context whenever it lets go of a target.

  >>> given = jnp.array([0., 0., 0., 0., 0.99, 0.99, 0., 0.])
  >>> views = multiblock(given, grid=(3, 4), targets=1, scale=(0.2, 0.2), aspect=(1., 1.))
  >>> [mask.reshape(3, 4).astype(int).tolist() for mask in (views.asked[0], ~views.hidden)]
  [[[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]], [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]]
  """
  *batch, m = uniforms.shape
  if targets < 1 or m % 2 or m < 2 * (3 + targets):
    raise BadInput(
      f"{targets} targets need pairs of numbers, at least {3 + max(targets, 1)}, got {m} numbers"
    )
  pairs = uniforms.reshape(*batch, m // 2, 2)
  target = block_size(pairs[..., 0, :], grid=grid, scale=scale, aspect=aspect, tied=tied)
  around = block_size(pairs[..., 1, :], grid=grid, scale=context, aspect=(1.0, 1.0))
  asked = _placed(pairs[..., 2 : 2 + targets, :], target, grid)
  tried = _placed(pairs[..., 2 + targets :, :], around, grid)
  # What may be seen with all targets taken out, with all but the last, … with none.
  taken = [jnp.any(asked[..., :some, :], axis=-2) for some in range(targets, -1, -1)]
  free = ~jnp.stack(taken, axis=-2)
  kept = jnp.einsum("...rn,...tn->...rt", free.astype(jnp.float32), tried.astype(jnp.float32))
  enough = (kept >= least).reshape(*batch, -1)
  tries = tried.shape[-2]
  first = jnp.where(jnp.any(enough, axis=-1), jnp.argmax(enough, axis=-1), targets * tries)
  pick = lambda rows, i: jnp.take_along_axis(rows, i[..., None, None], axis=-2)[..., 0, :]
  seen = pick(tried, first % tries) & pick(free, first // tries)
  return Views(~seen, jnp.moveaxis(asked, -2, 0))


def block_size(
  uniforms: Float[Array, "*b 2"],
  *,
  grid: tuple[int, ...],
  scale: Range,
  aspect: Range,
  tied: bool = False,
) -> Int[Array, "*b 2"]:
  r"""Height and width of a block, from where two numbers of [0, 1) lie in their ranges.

  Of $n = \lfloor s\,g_1 g_2 \rfloor$ positions, $h = \sqrt{n r}$ and $w = \sqrt{n / r}$, each
  rounded and below its side of the grid; s lies in `scale`, a share of the grid, and r in `aspect`.
  `tied` lets the first number say both, as the public code does: the larger, the taller.

  Args:
    uniforms: two numbers in [0, 1): where area and aspect lie in their ranges.
    grid: rows and columns.
    scale: range of the area, as shares of the grid.
    aspect: range of height over width.
    tied: whether the first number says both.

  Returns:
    Height and width in positions.

  Raises:
    BadInput: a grid that is no plane, or ranges outside of what there is.

  Source: Assran et al. 2023 (I-JEPA), section 3.

  >>> plane = dict(grid=(14, 14), scale=(0.15, 0.2), aspect=(0.75, 1.5))
  >>> block_size(jnp.array([[0., 0.], [0.99, 0.]]), **plane).tolist()
  [[5, 6], [5, 7]]
  >>> block_size(jnp.array([0.99, 0.]), tied=True, **plane).tolist()
  [8, 5]
  """
  if len(grid) != 2:
    raise BadInput(f"blocks lie in a plane, the grid {tuple(grid)} has {len(grid)} axes")
  if not (0 < scale[0] <= scale[1] <= 1 and 0 < aspect[0] <= aspect[1]):
    raise BadInput(f"a scale is a range in (0, 1], an aspect above 0, got {scale} and {aspect}")
  height, width = grid
  within = lambda u, ends: ends[0] + u * (ends[1] - ends[0])
  count = jnp.floor(height * width * within(uniforms[..., 0], scale))
  ratio = within(uniforms[..., 0 if tied else 1], aspect)
  sides = jnp.stack([jnp.sqrt(count * ratio), jnp.sqrt(count / ratio)], axis=-1)
  most = jnp.array([max(side - 1, 1) for side in grid], jnp.int32)
  return jnp.clip(jnp.round(sides).astype(jnp.int32), 1, most)


def _placed(
  uniforms: Float[Array, "*b k 2"], size: Int[Array, "*b 2"], grid: tuple[int, ...]
) -> Bool[Array, "*b k n"]:
  """Blocks of one size with their corners anywhere that they lie inside."""
  room = jnp.array(grid, jnp.int32) - size[..., None, :] + 1
  corner = jnp.minimum(jnp.floor(uniforms * room).astype(jnp.int32), room - 1)
  sizes = jnp.broadcast_to(size[..., None, :], corner.shape)
  return rectangles(corner[..., None, :], sizes[..., None, :], grid=grid)
