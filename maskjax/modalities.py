"""Modalities that are functions of an image: edges, bands of detail, segments of colour.

What networks trained elsewhere would tell of an image (its depth, its objects) takes the same form.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from maskjax.errors import BadInput

__all__ = ["Modality", "difference_of_gaussians", "edges", "palette"]

Statistics = Mapping[str, Array]
PIXELS = 16_384  # that colours are fitted to


class Modality(NamedTuple):
  """A map of an image, and what of the training images it needs to know.

  Attributes:
    make: `(statistics, images) -> maps` of images `Float[b h w c]` in [0, 1]: values `[b h w d]`
      of about mean 0 and deviation 1, or labels, `Int[b h w]`; either may be smaller than the
      image by `stride`.
    fit: `images -> statistics`, of training images, on the host.
    unfitted: `channels -> statistics` of as many, of no images, for images of so many channels.
    channels: of the values.
    classes: how many labels there are; 0 for values.
    stride: pixels of the image along each axis for one of the map.
  """

  make: Callable[[Statistics, Any], Any]
  fit: Callable[[np.ndarray], Mapping[str, np.ndarray]]
  unfitted: Callable[[int], Statistics]
  channels: int = 1
  classes: int = 0
  stride: int = 1


def edges() -> Modality:
  r"""How steep the brightness is: $\sqrt{g_x^2 + g_y^2}$ by Sobel's filters.

  Brightness is the mean of the channels; the pixel at a border is repeated.

  >>> ramp = jnp.broadcast_to(jnp.arange(4.0)[None, :, None], (1, 4, 4))[..., None]
  >>> edges().make({"mean": jnp.zeros(1), "std": jnp.ones(1)}, ramp)[0, :, 0, 0].tolist()
  [0.5, 1.0, 1.0, 0.5]
  """

  def steepness(images: Array) -> Array:
    x = images.mean(axis=-1)
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1)), mode="edge")
    smooth = lambda x: (x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]) / 4
    slope = lambda x: (x[..., 2:] - x[..., :-2]) / 2
    flip = lambda x: jnp.swapaxes(x, -1, -2)
    across, down = slope(flip(smooth(flip(x)))), flip(slope(flip(smooth(x))))
    return jnp.sqrt(across**2 + down**2)[..., None]

  return _values(steepness)


def difference_of_gaussians(*, narrow: float = 1.0, wide: float = 2.0) -> Modality:
  """A band of detail: the brightness blurred a little minus the same blurred more.

  `narrow` and `wide` are deviations in pixels; 0 does not blur. The pixel at a border is repeated.

  Raises:
    BadInput: unless 0 <= narrow < wide.

  >>> flat = difference_of_gaussians().make({"mean": 0.0, "std": 1.0}, jnp.ones((1, 9, 9, 3)))
  >>> bool(jnp.abs(flat).max() < 1e-5), flat.shape
  (True, (1, 9, 9, 1))
  """
  if not 0 <= narrow < wide:
    raise BadInput(f"a band wants 0 <= narrow < wide, got {narrow=}, {wide=}")

  def band(images: Array) -> Array:
    x = images.mean(axis=-1)
    kernels = [[_blur(size, sigma) for size in x.shape[1:]] for sigma in (narrow, wide)]
    fine, coarse = (jnp.einsum("ih,bhw,jw->bij", rows, x, columns) for rows, columns in kernels)
    return (fine - coarse)[..., None]

  return _values(band)


def palette(*, colors: int, stride: int = 1) -> Modality:
  """Which of so many colours is nearest, by k-means of training images' pixels; dark ones first.

  With `stride` a label is about the mean of so many pixels along each axis.

  Raises:
    BadInput: fewer than two colours, or images that `stride` does not divide.

  >>> two = {"colors": jnp.array([[0.0], [1.0]])}
  >>> palette(colors=2).make(two, jnp.array([0.1, 0.8]).reshape(1, 1, 2, 1)).tolist()
  [[[0, 1]]]
  """
  if colors < 2 or stride < 1:
    raise BadInput(
      f"a palette wants 2 colors or more and a stride from 1 on, got {colors}, {stride}"
    )

  def pooled(images: Any) -> Any:
    b, h, w, c = images.shape
    if h % stride or w % stride:
      raise BadInput(f"images of {h}x{w} are not divisible by palette.stride={stride}")
    return images.reshape(b, h // stride, stride, w // stride, stride, c).mean(axis=(2, 4))

  def make(statistics: Statistics, images: Array) -> Array:
    x, known = pooled(images)[..., None, :], statistics["colors"]
    return jnp.argmin(jnp.sum((x - known) ** 2, axis=-1), axis=-1).astype(jnp.int32)

  def fit(images: np.ndarray) -> Mapping[str, np.ndarray]:
    from sklearn.cluster import KMeans  # takes a second, which other modalities need not pay

    pixels = pooled(images).reshape(-1, images.shape[-1])
    pixels = pixels[np.arange(min(PIXELS, len(pixels))) * len(pixels) // min(PIXELS, len(pixels))]
    if len(pixels) < colors:
      raise BadInput(f"{colors} colors cannot be told from {len(pixels)} pixels")
    found = KMeans(colors, n_init=1, random_state=0).fit(pixels).cluster_centers_
    return {"colors": found[np.argsort(found.sum(axis=-1), kind="stable")].astype(np.float32)}

  def unfitted(channels: int) -> Statistics:
    return {"colors": jnp.repeat(jnp.linspace(0.0, 1.0, colors)[:, None], channels, axis=1)}

  return Modality(make, fit, unfitted, classes=colors, stride=stride)


def _values(of: Callable[[Array], Array]) -> Modality:
  """A modality of values of one channel, scaled by their mean and deviation in training."""

  def fit(images: np.ndarray) -> Mapping[str, np.ndarray]:
    x = np.asarray(jax.jit(of)(images))
    std = x.std(axis=(0, 1, 2))
    return {"mean": x.mean(axis=(0, 1, 2)), "std": np.where(std > 1e-6, std, 1).astype(np.float32)}

  return Modality(
    make=lambda statistics, images: (of(images) - statistics["mean"]) / statistics["std"],
    fit=fit,
    unfitted=lambda channels: {"mean": jnp.zeros(1), "std": jnp.ones(1)},
  )


def _blur(size: int, sigma: float) -> Float[np.ndarray, "size size"]:
  """The matrix that blurs a line of pixels by a Gaussian, cut at four deviations."""
  reach = math.ceil(4 * sigma)
  offsets = np.arange(-reach, reach + 1)
  weights = np.exp(-0.5 * (offsets / sigma) ** 2) if sigma else np.ones(1)
  found = np.zeros((size, size))
  for offset, weight in zip(offsets, weights / weights.sum(), strict=True):
    np.add.at(found, (np.arange(size), np.clip(np.arange(size) + offset, 0, size - 1)), weight)
  return found.astype(np.float32)
