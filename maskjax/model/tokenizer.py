"""A tokenizer of images: convolutions to a grid of codes, each the nearest of a codebook, and back.

Every token is an index of the codebook; what hides and recovers tokens does not know of pixels.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.over.cut import patch_grid, patchify, unpatchify

he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


class Quantised(NamedTuple):
  """An image through the codebook: what comes back, and what was near to what on the way."""

  image: Float[Array, "b h w c"]
  latents: Float[Array, "b n e"]
  codes: Float[Array, "b n e"]
  tokens: Int[Array, "b n"]


class Residual(nn.Module):
  """`x + conv(swish(norm(conv(swish(norm(x))))))`, 3 x 3 and with as many channels as `width`."""

  width: int
  dtype: str

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
    """Maps to maps of the same sides."""
    y = _conv(self.width, 3, self.dtype, "conv1")(nn.swish(_norm(x, "norm1")))
    y = _conv(self.width, 3, self.dtype, "conv2")(nn.swish(_norm(y, "norm2")))
    if x.shape[-1] != self.width:
      x = _conv(self.width, 1, self.dtype, "shortcut")(x)
    return x + y


class Encoder(nn.Module):
  """Patches to latents: `blocks` residual blocks at each of `widths`, between them half the sides.

  `outputs` numbers at every position of the last grid, in float32.
  """

  patch: tuple[int, int]
  widths: tuple[int, ...]
  blocks: int
  outputs: int
  dtype: str = "float32"

  @nn.compact
  def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b g k e"]:
    """The latents of images."""
    grid = patch_grid(image.shape[1:-1], self.patch)
    x = patchify(image, self.patch).reshape(len(image), *grid, -1)
    x = _conv(self.widths[0], 3, self.dtype, "embed")(x)
    for level, width in enumerate(self.widths):
      if level:
        x = _conv(x.shape[-1], 3, self.dtype, f"down_{level}", strides=2)(x)
      for i in range(self.blocks):
        x = Residual(width, self.dtype, name=f"block_{level}_{i}")(x)
    x = nn.swish(_norm(x, "norm"))
    return _conv(self.outputs, 1, self.dtype, "project")(x).astype(jnp.float32)


class Decoder(nn.Module):
  """Latents to images of `channels`: what an `Encoder` of the same sizes does, backwards."""

  patch: tuple[int, int]
  widths: tuple[int, ...]
  blocks: int
  channels: int
  dtype: str = "float32"

  @nn.compact
  def __call__(self, latents: Float[Array, "b g k e"]) -> Float[Array, "b h w c"]:
    """Images in float32."""
    x = _conv(self.widths[-1], 3, self.dtype, "embed")(latents)
    for level in reversed(range(len(self.widths))):
      for i in range(self.blocks):
        x = Residual(self.widths[level], self.dtype, name=f"block_{level}_{i}")(x)
      if level:
        x = x.repeat(2, axis=1).repeat(2, axis=2)
        x = _conv(x.shape[-1], 3, self.dtype, f"up_{level}")(x)
    x = nn.swish(_norm(x, "norm"))
    outputs = self.patch[0] * self.patch[1] * self.channels
    x = _conv(outputs, 3, self.dtype, "predict")(x).astype(jnp.float32)
    grid = x.shape[1:3]
    return unpatchify(x.reshape(len(x), -1, outputs), self.patch, grid, self.channels)


class Tokenizer(nn.Module):
  """Images to tokens and back; built by `tokenizer`.

  Attributes:
    encoder, decoder: convolutions.
    codes: size of the codebook.
    code_width: numbers of a code.
    unit: whether latents and codes are compared at length 1.
    grid: tokens along each axis.

  Source: van den Oord et al., "Neural Discrete Representation Learning", 2017, section 3; codes of
  length 1: Yu et al., "Vector-quantized Image Modeling with Improved VQGAN", 2022, section 3.2.
  """

  encoder: Encoder
  decoder: Decoder
  codes: int
  code_width: int
  unit: bool
  grid: tuple[int, int]

  def setup(self) -> None:
    """Binds the codebook, first uniform in ± 1 / codes as in VQGAN, or of random directions."""
    draw = functools.partial(jax.random.uniform, minval=-1, maxval=1)
    uniform = lambda *args: draw(*args) / self.codes
    first = nn.initializers.normal(1.0) if self.unit else uniform
    self.codebook = self.param("codebook", first, (self.codes, self.code_width), jnp.float32)

  @bind.examples(takes="image", gives="image")
  def __call__(self, image: Float[Array, "b h w c"]) -> Quantised:
    """Quantises; the image's gradient passes the codebook straight through."""
    latents = self._latents(image)
    tokens = self._nearest(latents)
    codes = self._book()[tokens]
    through = latents + jax.lax.stop_gradient(codes - latents)
    return Quantised(self._paint(through), latents, codes, tokens)

  @bind.examples(takes="image")
  def encode(self, image: Float[Array, "b h w c"]) -> Int[Array, "b n"]:
    """The tokens of images, row by row."""
    return self._nearest(self._latents(image))

  @bind.examples(gives="")
  def decode(self, tokens: Int[Array, "b n"]) -> Float[Array, "b h w c"]:
    """The images of tokens."""
    return self._paint(self._book()[tokens])

  def _latents(self, image: Float[Array, "b h w c"]) -> Float[Array, "b n e"]:
    latents = self.encoder(image).reshape(len(image), -1, self.code_width)
    return _to_unit(latents) if self.unit else latents

  def _book(self) -> Float[Array, "k e"]:
    return _to_unit(self.codebook) if self.unit else self.codebook

  def _nearest(self, latents: Float[Array, "b n e"]) -> Int[Array, "b n"]:
    book = jax.lax.stop_gradient(self._book())
    near = jnp.einsum("...e,ke->...k", jax.lax.stop_gradient(latents), book, precision="highest")
    return jnp.argmax(near - jnp.sum(book**2, axis=-1) / 2, axis=-1).astype(jnp.int32)

  def _paint(self, codes: Float[Array, "b n e"]) -> Float[Array, "b h w c"]:
    return self.decoder(codes.reshape(len(codes), *self.grid, self.code_width))


@bind.least(code_width=4, blocks=1)
def tokenizer(
  *,
  record_shape: Sequence[int],
  codes: int = 1024,
  code_width: int = 256,
  unit: bool = False,
  patch: Sequence[int] = (1, 1),
  widths: Sequence[int] = (128, 128, 256, 256, 512),
  blocks: int = 2,
  dtype: str = "float32",
) -> Tokenizer:
  """A tokenizer of images `(h, w, c)`: `patch` pixels, halved between `widths`, are one token.

  Raises:
    BadInput: data that are no images, sides that are not divisible, no code or no width.

  >>> tokenizer(record_shape=(32, 48, 3), patch=(4, 4), widths=(32, 64)).grid
  (4, 6)
  """
  if len(record_shape) != 3:
    raise BadInput(f"tokenizer takes images (h, w, c), the data have shape {tuple(record_shape)}")
  if min(codes, code_width, blocks, len(widths)) < 1:
    raise BadInput(f"tokenizer: {codes=}, {code_width=}, {blocks=}, {widths=}, each at least 1")
  *space, channels = record_shape
  small, sizes = (int(patch[0]), int(patch[1])), tuple(widths)
  whole = [side * 2 ** (len(sizes) - 1) for side in small]
  grid = patch_grid(space, whole)
  encoder = Encoder(small, sizes, blocks, code_width, dtype)
  decoder = Decoder(small, sizes, blocks, channels, dtype)
  return Tokenizer(encoder, decoder, codes, code_width, unit, (grid[0], grid[1]))


def _to_unit(x: Float[Array, "*b e"]) -> Float[Array, "*b e"]:
  return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), 1e-12))


def _norm(x: Float[Array, "b h w c"], name: str) -> Float[Array, "b h w c"]:
  """Normalisation of groups of channels: 32, fewer where there are not so many."""
  groups = next(
    g for g in (32, 16, 8, 4, 2, 1) if (x.shape[-1] % g == 0 and x.shape[-1] > g) or g == 1
  )
  return nn.GroupNorm(groups, epsilon=1e-6, dtype=x.dtype, name=name)(x)


def _conv(width: int, side: int, dtype: str, name: str, strides: int = 1) -> nn.Conv:
  return nn.Conv(
    width,
    (side, side),
    (strides, strides),
    padding="SAME",
    dtype=dtype,
    kernel_init=he_normal,
    name=name,
  )
