"""Hiding in place by what is around: neighbours, the mean of what is visible, a blurred picture."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from maskjax import masks, reduce
from maskjax.errors import BadInput

UNROLLED = 8  # steps that are written out, not looped over


def neighbours(
  x: Float[Array, "*b n d"],
  hidden: Bool[Array, "*b n"],
  *,
  grid: tuple[int, ...],
  steps: int | None = None,
) -> Float[Array, "*b n d"]:
  """Removes: fills what is hidden from its border inwards, `steps` rings of it (None: all).

  Each ring takes the mean of those neighbours, diagonal ones too, that are visible or were filled
  before; what lies deeper than `steps`, or has nothing around it that is visible, is zero.

  Args:
    x: what stands at n positions.
    hidden: True where hidden.
    grid: positions along each axis, n in all.
    steps: rings that are filled; None: all.

  Returns:
    `x`, with what is hidden replaced.

  Raises:
    BadInput: a grid of other than n positions.
    TypeError: `hidden` is not bool.

  Source: Balasubramanian and Feizi, "Towards Improved Input Masking for Convolutional Neural
  Networks", 2023, section 3 (neighbour padding). The public code stops gradients through what is
  filled in; here they flow to the visible values.

  >>> x, hidden = jnp.array([[1.0], [9.0], [9.0], [3.0]]), jnp.array([False, True, True, False])
  >>> neighbours(x, hidden, grid=(4,), steps=1).ravel().tolist()
  [1.0, 1.0, 3.0, 3.0]
  """
  masks.check(hidden=hidden)
  _fits(x, grid)
  *batch, _, width = x.shape
  space = range(len(batch), len(batch) + len(grid))
  known = jnp.reshape(~hidden, (*batch, *grid, 1))
  values = jnp.where(known, x.reshape(*batch, *grid, width), 0).astype(jnp.float32)

  def ring(_, filled):
    values, known = filled
    total, count = values, known.astype(jnp.float32)
    for axis in space:
      total, count = _three(total, axis), _three(count, axis)
    return jnp.where(known, values, total / jnp.maximum(count, 1)), known | (count > 0)

  steps = max(grid) - 1 if steps is None else steps
  values, _ = jax.lax.fori_loop(0, steps, ring, (values, known), unroll=steps <= UNROLLED)
  return values.reshape(x.shape).astype(x.dtype)


def mean(x: Float[Array, "*b n d"], hidden: Bool[Array, "*b n"]) -> Float[Array, "*b n d"]:
  """Removes: puts the mean of an example's visible positions where it is hidden, 0 if none is.

  >>> mean(jnp.array([[1.], [3.], [8.]]), jnp.array([False, False, True])).ravel().tolist()
  [1.0, 3.0, 2.0]
  """
  masks.check(hidden=hidden)
  mean = reduce.mean(x, ~hidden[..., None], axis=-2, keepdims=True)
  return jnp.where(hidden[..., None], mean.astype(x.dtype), x)


def blur(
  x: Float[Array, "*b n d"], hidden: Bool[Array, "*b n"], *, grid: tuple[int, ...], sigma: float
) -> Float[Array, "*b n d"]:
  r"""Degrades: what is hidden becomes a Gaussian mean of all that is around it, itself too.

  Weights $\propto e^{-r^2 / 2 \sigma^2}$ over the whole grid, `sigma` in positions; at borders they
  are those of what lies inside.

  Args:
    x: what stands at n positions.
    hidden: True where hidden.
    grid: positions along each axis, n in all.
    sigma: deviation of the Gaussian in positions, above 0.

  Returns:
    `x`, with what is hidden blurred.

  Raises:
    BadInput: a grid of other than n positions, or a sigma that is not positive.

  >>> x, hidden = jnp.array([[0.0], [1.0], [0.0]]), jnp.array([False, True, False])
  >>> [round(float(y), 2) for y in blur(x, hidden, grid=(3,), sigma=100.0)[:, 0]]
  [0.0, 0.33, 0.0]
  """
  masks.check(hidden=hidden)
  _fits(x, grid)
  if sigma <= 0:
    raise BadInput(f"the sigma of a blur is positive, got {sigma}")
  *batch, _, width = x.shape
  smooth = x.reshape(*batch, *grid, width).astype(jnp.float32)
  for axis, side in enumerate(grid, len(batch)):
    place = jnp.arange(side, dtype=jnp.float32)
    weight = jax.nn.softmax(-jnp.square((place[:, None] - place) / sigma) / 2, axis=-1)
    smooth = jnp.moveaxis(jnp.tensordot(smooth, weight, (axis, 1)), -1, axis)
  return jnp.where(hidden[..., None], smooth.reshape(x.shape).astype(x.dtype), x)


def carry(
  x: Num[Array, "*b n d"], hidden: Bool[Array, "*b n"]
) -> tuple[Num[Array, "*b n d"], Bool[Array, "*b n"]]:
  """Removes: zeros, and the mask beside them for a network that carries it through its layers.

  >>> carry(jnp.array([[1.], [2.]]), jnp.array([False, True]))[0].tolist()
  [[1.0], [0.0]]
  """
  masks.check(hidden=hidden)
  return jnp.where(hidden[..., None], 0, x), hidden


def _three(x: Num[Array, "..."], axis: int) -> Num[Array, "..."]:
  """The sum of each position and its two neighbours along an axis, nothing beyond its ends."""
  wide = jnp.pad(x, [(int(i == axis),) * 2 for i in range(x.ndim)])
  part = lambda start: jax.lax.slice_in_dim(wide, start, start + x.shape[axis], axis=axis)
  return part(0) + part(1) + part(2)


def _fits(x: Num[Array, "*b n d"], grid: tuple[int, ...]) -> None:
  if math.prod(grid) != x.shape[-2]:
    raise BadInput(f"a grid {tuple(grid)} has {math.prod(grid)} positions, got {x.shape[-2]}")
