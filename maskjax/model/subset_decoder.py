"""A decoder of some positions: mask tokens of these, and of no others, among encoded tokens."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax import bind
from maskjax.model.dense import Dense
from maskjax.model.transformer import transformer
from maskjax.model.vit import positions


@bind.least(width=16, depth=1, heads=2)
class SubsetDecoder(nn.Module):
  """Predicts `outputs` numbers at asked positions, of which those not asked cost nothing.

  Encoded tokens and a mask token for each asked position, all with where they stand, go through the
  blocks together. A position may be asked that was encoded too.

  Source: Wang et al. 2023 (VideoMAE V2), section 3.2.
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

  @nn.compact
  def attend(
    self,
    tokens: Float[Array, "*b m e"],
    index: Int[Array, "*b m"] | None = None,
    valid: Bool[Array, "*b m"] | None = None,
    at: Int[Array, "*b k"] | None = None,
  ) -> Float[Array, "*b k p"]:
    """Float32 `at` positions (None: all), from the tokens of positions `index` that are `valid`."""
    xavier, start = nn.initializers.xavier_uniform(), nn.initializers.normal(0.02)
    dense = lambda n, **more: Dense(n, dtype=self.dtype, kernel_init=xavier, **more)
    # An array of JAX, as one of numpy takes no traced index.
    table = jnp.asarray(positions(self, "sincos", self.grid, self.width, 0), self.dtype)
    token = self.param("mask_token", start, (self.width,), jnp.float32)
    asked = token.astype(self.dtype) + table
    every = (*tokens.shape[:-2], *asked.shape)
    asked = jnp.broadcast_to(asked, every) if at is None else asked[at]
    where = table if index is None else table[index]
    x = dense(self.width, use_bias=False, name="embed")(tokens) + where
    if valid is not None:
      there = jnp.ones(asked.shape[:-1], jnp.bool_)
      valid = jnp.concatenate([valid, there], axis=-1)
    x = transformer(
      jnp.concatenate([x, asked], axis=-2),
      valid,
      depth=self.depth,
      heads=self.heads,
      mlp=4 * self.width,
      dtype=self.dtype,
      norm_eps=self.norm_eps,
      remat=self.remat,
      scan=self.scan,
    )
    return dense(self.outputs, name="predict")(x[..., tokens.shape[-2] :, :]).astype(jnp.float32)
