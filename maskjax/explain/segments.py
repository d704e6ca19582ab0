"""Segments of images: pixels that lie together and look alike, which are hidden together."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax import masks
from maskjax.errors import BadInput


@functools.partial(jax.jit, static_argnames=("segments", "rounds"))
def slic(
  image: Float[Array, "*b h w c"], *, segments: int, compactness: float = 0.1, rounds: int = 10
) -> Int[Array, "*b h w"]:
  r"""Superpixels: `rounds` of k-means on the colours of pixels and their places.

  Of centres on a regular lattice each pixel takes the one that is nearest by
  $|\Delta\mathrm{colour}|^2 + (m / s)^2 |\Delta\mathrm{place}|^2$, m being the `compactness`, in
  units of colour, and s the lattice's spacing; then each centre moves to the mean of its pixels.
  Segments are numbered below `segments`; some numbers may stay without a pixel.

  Raises:
    BadInput: fewer than one segment, or more than there are pixels.

  Source: Achanta et al., "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods", 2012,
  section 3. Deviations: colours as they are given (RGB in [0, 1]) instead of CIELAB, all centres
  are compared and not only those nearby, and segments need not be connected.

  >>> image = jnp.zeros((4, 4, 1)).at[:, 2:].set(1.0)
  >>> slic(image, segments=2, rounds=3)[0].tolist()
  [0, 0, 1, 1]
  """
  *batch, h, w, c = image.shape
  if not 1 <= segments <= h * w:
    raise BadInput(f"an image of {h} x {w} pixels has 1 to {h * w} segments, got {segments}")
  down = min(max(math.isqrt(segments * h // w), 1), h)
  across = min(segments // down, w)
  spacing = math.sqrt(h * w / (down * across))
  place = jnp.stack(jnp.meshgrid(jnp.arange(h), jnp.arange(w), indexing="ij"), axis=-1)
  place = place.reshape(-1, 2) * (compactness / spacing)
  row, column = ((jnp.arange(n) + 0.5) * (side / n) for n, side in ((down, h), (across, w)))
  first = (row.astype(int)[:, None] * w + column.astype(int)).reshape(-1)

  def one(pixels):
    points = jnp.concatenate([pixels.reshape(-1, c).astype(jnp.float32), place], axis=-1)

    def nearest(centres):
      product = jnp.matmul(points, centres.T, precision="highest")
      return jnp.argmin(jnp.sum(centres**2, axis=-1) - 2 * product, axis=-1)

    def move(_, centres):
      mine = jax.nn.one_hot(nearest(centres), len(centres))
      total, count = jnp.matmul(mine.T, points, precision="highest"), mine.sum(axis=0)[:, None]
      return jnp.where(count > 0, total / jnp.maximum(count, 1), centres)

    return nearest(jax.lax.fori_loop(0, rounds, move, points[first])).reshape(h, w)

  unit = jax.lax.map(one, image.reshape(-1, h, w, c))
  return unit.reshape(*batch, h, w).astype(jnp.int32)


def covered(hidden: Bool[Array, "*b k"], unit: Int[Array, "*#b n"]) -> Bool[Array, "*b n"]:
  """The positions of the segments that are hidden.

  Raises:
    TypeError: `hidden` is not bool.

  >>> covered(jnp.array([True, False]), jnp.array([0, 0, 1])).tolist()
  [True, True, False]
  """
  masks.check(hidden=hidden)
  index = jnp.broadcast_to(unit, (*hidden.shape[:-1], unit.shape[-1]))
  return jnp.take_along_axis(hidden, index, axis=-1)
