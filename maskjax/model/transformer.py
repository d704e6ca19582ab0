"""The pre-norm transformer block, and a stack of blocks."""

from functools import partial

import flax.linen as nn
from jaxtyping import Array, Bool, Float

from maskjax.model.attention import Attention


class Mlp(nn.Module):
  """Two dense layers with an exact GELU between them, applied to every token by itself."""

  hidden_width: int
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Float[Array, "*b n d"]) -> Float[Array, "*b n d"]:
    """`down(gelu(up(x)))`."""
    dense = partial(nn.Dense, dtype=self.dtype, kernel_init=nn.initializers.xavier_uniform())
    up = dense(self.hidden_width, name="up")(x)
    return dense(x.shape[-1], name="down")(nn.gelu(up, approximate=False))


class Block(nn.Module):
  """Attention and MLP, each on normalised tokens and added to what came in.

  `x + attention(norm1(x))`, then `x + mlp(norm2(x))`; normalisation statistics in float32.

  Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, section 3.1.
  """

  heads: int
  mlp: int
  dtype: str = "float32"
  norm_eps: float = 1e-6

  @nn.compact
  def __call__(
    self, x: Float[Array, "*b n d"], valid: Bool[Array, "*b n"] | None = None
  ) -> Float[Array, "*b n d"]:
    """Tokens to tokens; those where `valid` is False are seen by none."""
    norm = partial(nn.LayerNorm, epsilon=self.norm_eps, dtype=self.dtype)
    x = x + Attention(self.heads, self.dtype, name="attention")(norm(name="norm1")(x), valid)
    return x + Mlp(self.mlp, self.dtype, name="mlp")(norm(name="norm2")(x))


def transformer(
  x: Float[Array, "*b n d"],
  valid: Bool[Array, "*b n"] | None = None,
  *,
  depth: int,
  heads: int,
  mlp: int,
  dtype: str = "float32",
  norm_eps: float = 1e-6,
  remat: bool = False,
) -> Float[Array, "*b n d"]:
  """A stack of `depth` blocks and a last normalisation; to be called inside a compact method.

  The parameters `block_00`, `block_01` … and `norm` belong to the module that calls. `remat` keeps
  only each block's input for the backward pass and computes the rest again.
  """
  block = nn.remat(Block) if remat else Block
  for i in range(depth):
    x = block(heads, mlp, dtype, norm_eps, name=f"block_{i:02d}")(x, valid)
  return nn.LayerNorm(epsilon=norm_eps, dtype=dtype, name="norm")(x)
