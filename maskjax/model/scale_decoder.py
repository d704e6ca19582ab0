"""A decoder of one layer of an encoder, which predicts at a scale of its own."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.model.dense import Dense
from maskjax.model.masked_decoder import among_mask_tokens
from maskjax.model.norm import LayerNorm
from maskjax.model.transformer import gelu, transformer
from maskjax.model.vit import ViT, check_heads, follows
from maskjax.over.cut import patchify, unpatchify
from maskjax.recover.hog import at_grid


class Finer(nn.Module):
  """Two cells along each axis in the place of one: a transposed convolution of stride 2."""

  width: int
  dtype: str

  @nn.compact
  def __call__(self, x: Float[Array, "*b_cells d"], axes: int) -> Float[Array, "*b_finer e"]:
    """Of `axes` axes of cells, as many along each."""
    cells, deep = x.shape[-1 - axes : -1], 2**axes * self.width
    xavier = nn.initializers.xavier_uniform()
    parts = Dense(deep, use_bias=False, dtype=self.dtype, kernel_init=xavier, name="parts")(x)
    flat = parts.reshape(*x.shape[: -1 - axes], math.prod(cells), deep)
    bias = self.param("bias", nn.initializers.zeros, (self.width,), jnp.float32)
    return unpatchify(flat, (2,) * axes, cells, self.width) + bias.astype(flat.dtype)


class ScaleDecoder(nn.Module):
  """Predicts `outputs` numbers for each of $s^2$ cells of a patch, or for $(1/s)^2$ patches as one.

  Layer normalisation, mask tokens and blocks as in MAE's decoder; finer cells by `Finer`, from the
  second on normalised and rectified (GELU) before, coarser ones as a mean of patches, and a layer.

  Source: Wang et al. 2023 (LocalMIM), section 3.2.
  """

  width: int
  depth: int
  heads: int
  outputs: int
  scale: float
  grid: tuple[int, ...]
  class_token: bool = True
  dtype: str = "float32"
  norm_eps: float = 1e-6
  remat: bool = False
  scan: bool = False

  @nn.compact
  def __call__(
    self, tokens: Float[Array, "*b m e"], hidden: Bool[Array, "*b n"], grid: tuple[int, ...]
  ) -> Float[Array, "*b n p"]:
    """Float32 at every position, as `recover.at_grid` tells it of cells, from a layer's tokens."""
    extra, axes, doublings = int(self.class_token), len(grid), int(math.log2(self.scale))
    norm = lambda name: LayerNorm(epsilon=self.norm_eps, dtype=self.dtype, name=name)
    x = among_mask_tokens(self, norm("input_norm")(tokens), hidden, grid, extra)
    x = transformer(
      x,
      depth=self.depth,
      heads=self.heads,
      mlp=4 * self.width,
      dtype=self.dtype,
      norm_eps=self.norm_eps,
      remat=self.remat,
      scan=self.scan,
    )[..., extra:, :]
    *b, n, d = x.shape
    x = x.reshape(*b, n, *[1] * axes, d)
    for i in range(doublings):
      x = gelu(norm(f"norm_{i}")(x)) if i else x
      x = Finer(self.width // 2 ** (i + 1), self.dtype, name=f"finer_{i}")(x, axes)
    xavier = nn.initializers.xavier_uniform()
    x = Dense(self.outputs, dtype=self.dtype, kernel_init=xavier, name="predict")(x)
    x = x.reshape(*b, n, -1).astype(jnp.float32)
    if doublings >= 0:
      return x
    sides = (2**-doublings,) * axes
    cut = patchify(x.reshape(*b, *grid, -1), sides)
    mean = cut.reshape(*b, -1, math.prod(sides), self.outputs).mean(axis=-2)
    coarse = tuple(many // side for many, side in zip(grid, sides, strict=True))
    return at_grid(mean.reshape(*b, *coarse, -1), grid)


@bind.least(width=16, depth=1, heads=2)
def scale_decoder(
  *, encoder: ViT, outputs: int, scale: float, width: int = 256, depth: int = 1, heads: int = 8
) -> ScaleDecoder:
  """The decoder of a layer of an encoder, whose grid, class token, dtype and the like it has.

  Args:
    encoder: whose layer.
    outputs: numbers that are predicted for each cell.
    scale: cells along a side of a patch, a power of 2; 1/2: two patches are the side of a cell.
    width: of its tokens.
    depth: number of blocks.
    heads: of each block.

  Raises:
    BadInput: another scale, or a width that the heads or the halvings of finer cells do not divide.
  """
  check_heads("width", width, heads)
  if scale <= 0 or math.log2(scale) % 1 or width % max(scale, 1):
    raise BadInput(f"a scale is a power of 2 that divides the width {width}, got {scale}")
  follows_it = dict(class_token=encoder.class_token, **follows(encoder))
  return ScaleDecoder(width, depth, heads, outputs, scale, **follows_it)
