"""A decoder of cross-attention: positions that are asked read an encoder, and not each other."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax import bind
from maskjax.model.dense import Dense
from maskjax.model.multimodal import CrossAttention
from maskjax.model.transformer import Mlp
from maskjax.model.vit import positions


@bind.least(width=16, depth=1, heads=2)
class CrossAttentionDecoder(nn.Module):
  r"""Predicts `outputs` numbers at each asked position by itself, from all layers of an encoder.

  A mask token that knows its place reads, in block j, its own mix of the layers' tokens $h_i$:
  $x ← x + \mathrm{attention}(\mathrm{norm}(x), \mathrm{norm}_j(\sum_i w_{ij} h_i))$, then
  $x ← x + \mathrm{mlp}(\mathrm{norm}(x))$. Source: Fu et al. 2025 (CrossMAE), section 3.
  """

  width: int
  depth: int
  heads: int
  outputs: int
  grid: tuple[int, ...]
  dtype: str = "float32"
  norm_eps: float = 1e-6

  @nn.compact
  def attend(
    self,
    inputs: Sequence[Float[Array, "*b m e"]],
    last: Float[Array, "*b m e"],
    index: Int[Array, "*b k"] | None = None,
    valid: Bool[Array, "*b v"] | None = None,
  ) -> Float[Array, "*b k p"]:
    """Float32 at `index` (None: everywhere), from the encoder layers' `inputs` and `last` output.

    Of the last v tokens those that are not `valid` are read by none.
    """
    xavier, start = nn.initializers.xavier_uniform(), nn.initializers.normal(0.02)
    norm = lambda name: nn.LayerNorm(epsilon=self.norm_eps, dtype=self.dtype, name=name)
    states = jnp.stack([*inputs, last])
    mix = self.param("mix", xavier, (len(states), self.depth), jnp.float32)
    mixed = jnp.einsum("i...,ij->j...", states, mix.astype(states.dtype))
    if valid is not None:
      extra = [(0, 0)] * (valid.ndim - 1) + [(last.shape[-2] - valid.shape[-1], 0)]
      valid = jnp.pad(valid, extra, constant_values=True)
    token = self.param("mask_token", start, (self.width,), jnp.float32)
    x = (token + positions(self, "sincos", self.grid, self.width, 0)).astype(self.dtype)
    x = jnp.broadcast_to(x, (*last.shape[:-2], *x.shape)) if index is None else x[index]
    for j in range(self.depth):
      read = CrossAttention(self.heads, self.dtype, name=f"attention_{j:02d}")
      x = x + read(norm(f"norm1_{j:02d}")(x), norm(f"mix_norm_{j:02d}")(mixed[j]), valid)
      x = x + Mlp(4 * self.width, self.dtype, name=f"mlp_{j:02d}")(norm(f"norm2_{j:02d}")(x))
    dense = Dense(self.outputs, dtype=self.dtype, kernel_init=xavier, name="predict")
    return dense(norm("norm")(x)).astype(jnp.float32)
