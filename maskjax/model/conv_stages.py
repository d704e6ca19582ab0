"""Stages of masked convolutions before a transformer, on finer grids than its own."""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from maskjax import bind
from maskjax.model.dense import Dense
from maskjax.model.transformer import Mlp
from maskjax.model.vit import ViT
from maskjax.over.cut import patch_grid, patchify, unpatchify

# The patches around one, itself among them: 5 x 5 cells reach no further.
NEAR = (np.indices((3, 3)) - 1).reshape(2, 9).T[:, None]
Cells = Float[Array, "*b k s c"]


class ConvBlock(nn.Module):
  r"""$x + W_2\, (w * (m \odot W_1 x))$, $w$ depthwise, 5 x 5, then an MLP, on normalised x."""

  dtype: str

  @nn.compact
  def __call__(self, x: Cells, masked: Callable[[Cells], Float[Array, "*b k h w c"]]) -> Cells:
    """Cells of seen patches; `masked` is the window of each with its border, hidden cells at 0."""
    c, norm = x.shape[-1], partial(nn.LayerNorm, epsilon=1e-5, dtype=self.dtype)
    dense = partial(Dense, c, dtype=self.dtype, kernel_init=nn.initializers.xavier_uniform())
    around = masked(dense(name="into")(norm(name="norm1")(x)))
    param = lambda *args: self.param(*args, jnp.float32).astype(self.dtype)
    kernel = param("kernel", nn.initializers.lecun_normal(), (5, 5, 1, c))
    h, w = (n - 4 for n in around.shape[-3:-1])
    # On CPUs many times as fast as the gradient of `lax`'s depthwise convolution.
    shifted = (
      around[..., i : i + h, j : j + w, :] * kernel[i, j] for i in range(5) for j in range(5)
    )
    y = sum(shifted) + param("bias", nn.initializers.zeros, (c,))
    x = x + dense(name="out")(y.reshape(x.shape))
    return x + Mlp(4 * c, self.dtype, name="mlp")(norm(name="norm2")(x))


class ConvStages(nn.Module):
  """Stage i of S has $2^{S-i}$ cells along a side of each patch, and the mask of the patches.

  Equals masked convolutions of the whole image at seen cells; no others are computed.

  Source: Gao et al. 2022 (ConvMAE), section 3.
  """

  widths: tuple[int, ...]
  depth: int
  width: int
  patch: tuple[int, ...]
  dtype: str

  @nn.compact
  def __call__(
    self,
    patches: Float[Array, "*b k p"],
    grid: tuple[int, ...],
    index: Int[Array, "*b k"] | None = None,
    valid: Bool[Array, "*b k"] | None = None,
  ) -> dict[str, Float[Array, "*b k d"]]:
    """Tokens of patches that lie at `index` (None: all, in order), and what finer stages "add"."""
    *b, k, _ = patches.shape
    index = jnp.broadcast_to(jnp.arange(k), (*b, k)) if index is None else index
    at = jnp.stack(jnp.unravel_index(index, grid), axis=-1)
    apart = (at[..., None, :, :] - at[..., :, None, :])[..., None, :, :]
    near = (apart == NEAR).all(-1)
    near = near if valid is None else near & valid[..., None, None, :]
    slot, hidden = jnp.argmax(near, -1).reshape(*b, 9 * k, 1), ~near.any(-1, keepdims=True)

    def masked(side: int, x: Cells) -> Float[Array, "*b k h w c"]:
      around = jnp.take_along_axis(x.reshape(*b, k, -1), slot, axis=-2).reshape(*b, k, 9, -1)
      around = unpatchify(jnp.where(hidden, 0, around), (side, side), (3, 3), x.shape[-1])
      return around[..., side - 2 : 2 * side + 2, side - 2 : 2 * side + 2, :]

    dense = partial(Dense, dtype=self.dtype, kernel_init=nn.initializers.xavier_uniform())
    x, added = patches.reshape(*b, k, *self.patch, -1), jnp.zeros((), self.dtype)
    for i, width in enumerate((*self.widths, self.width)):
      side = 2 ** (len(self.widths) - i)
      x = dense(width, name=f"cells_{i}")(patchify(x, patch_grid(x.shape[-3:-1], (side, side))))
      x = nn.gelu(nn.LayerNorm(1e-5, dtype=self.dtype, name=f"norm_{i}")(x), approximate=False)
      for j in range(self.depth if side > 1 else 0):
        x = ConvBlock(self.dtype, name=f"stage_{i}_{j}")(x, partial(masked, side))
      if side > 1:
        added += dense(self.width, name=f"fuse_{i}")(x.reshape(*b, k, -1))
        x = x.reshape(*b, k, side, side, width)
    return {"tokens": x[..., 0, :], "added": added}


@bind.least(depth=1)
def conv_stages(*, encoder: ViT, widths: Sequence[int], depth: int = 2) -> ConvStages:
  """Stages of `depth` blocks each before an encoder whose patches have $2^S$ cells along a side."""
  return ConvStages(tuple(widths), depth, encoder.width, encoder.patch, encoder.dtype)
