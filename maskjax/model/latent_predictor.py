"""A narrow predictor: of what an encoder makes at positions that are asked."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax import bind
from maskjax.model.dense import Dense
from maskjax.model.position import resize_table
from maskjax.model.transformer import transformer
from maskjax.model.vit import ViT, check_heads, follows, positions


class Predictor(nn.Module):
  """Predicts `outputs` numbers at positions that are asked, view by view, from encoded tokens.

  The tokens and, for each of these positions, a mask token, all with where they stand, go through
  the blocks together; no view sees another. By `predictor`.

  Source: Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding Predictive
  Architecture", 2023, section 3.
  """

  width: int
  depth: int
  heads: int
  outputs: int
  grid: tuple[int, ...]
  dtype: str = "float32"
  norm_eps: float = 1e-6
  remat: bool = False
  scan: bool = False

  def setup(self):
    """Binds the table of positions."""
    self.table = positions(self, "sincos", self.grid, self.width, 0)

  def locate(
    self, index: Int[Array, "*b k"], *, grid: tuple[int, ...] | None = None
  ) -> Float[Array, "*b k d"]:
    """The embeddings of positions of a grid, the stored one unless said."""
    grid = self.grid if grid is None else tuple(grid)
    return resize_table(self.table, self.grid, grid).astype(self.dtype)[index]

  @nn.compact
  def attend(
    self,
    tokens: Float[Array, "*b k e"],
    index: Int[Array, "*b k"],
    seen: Bool[Array, "*b k"] | None,
    where: Float[Array, "*b v m d"],
    valid: Bool[Array, "*b v m"],
    *,
    grid: tuple[int, ...] | None = None,
  ) -> Float[Array, "*b v m d"]:
    """What mask tokens that are told `where` they stand come to, view by view, in float32.

    They see encoded tokens of the positions `index` of the grid, the stored one unless said, that
    are `seen` (None: all), and those of their own view that are `valid`; the rest is padding.
    """
    seen = jnp.ones(index.shape, jnp.bool_) if seen is None else seen
    xavier = nn.initializers.xavier_uniform()
    dense = lambda width, name: Dense(width, dtype=self.dtype, kernel_init=xavier, name=name)
    mask_token = self.param("mask_token", nn.initializers.normal(0.02), (self.width,), jnp.float32)
    asked = mask_token.astype(self.dtype) + where
    x = dense(self.width, "embed")(tokens) + self.locate(index, grid=grid)
    each = lambda x, axis: jnp.repeat(jnp.expand_dims(x, axis), valid.shape[-2], axis)
    x = transformer(
      jnp.concatenate([each(x, -3), asked], axis=-2),
      jnp.concatenate([each(seen, -2), valid], axis=-1),
      depth=self.depth,
      heads=self.heads,
      mlp=4 * self.width,
      dtype=self.dtype,
      norm_eps=self.norm_eps,
      remat=self.remat,
      scan=self.scan,
    )
    x = dense(self.outputs, "predict")(x[..., index.shape[-1] :, :])
    return x.astype(jnp.float32)


@bind.least(width=16, depth=1, heads=2)
def predictor(
  *, encoder: ViT, width: int = 384, depth: int = 12, heads: int | None = None
) -> Predictor:
  """A predictor of an encoder's tokens, which follows the encoder in all but its size.

  Args:
    encoder: whose width is predicted, and whose grid, dtype and normalisation it has.
    width: of its tokens.
    depth: number of blocks.
    heads: of its blocks; the encoder's unless said.

  Raises:
    BadInput: a width that the heads do not divide.
  """
  heads = encoder.heads if heads is None else heads
  check_heads("width", width, heads)
  return Predictor(
    width=width,
    depth=depth,
    heads=heads,
    outputs=encoder.width,
    **follows(encoder),
  )
