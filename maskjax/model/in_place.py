"""What networks need where hidden patches stay in the sequence: a mask token, and heads."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import bind, masks
from maskjax.model.dense import Dense
from maskjax.model.masked_decoder import Decoded, read_out
from maskjax.model.resnet import ResNetClassifier
from maskjax.model.vit import ViT, check_heads, follows


class MaskToken(nn.Module):
  """Removes: a learned token $m$ in the place of each hidden one, $x_i ← m$.

  Source: Devlin et al. 2019 (BERT), section 3.1; of patches, Xie et al. 2022 (SimMIM), section 3.2.
  """

  @nn.compact
  def __call__(
    self, x: Float[Array, "*b n d"], hidden: Bool[Array, "*b n"]
  ) -> Float[Array, "*b n d"]:
    """The tokens, in which nothing of what is hidden is left."""
    masks.check(hidden=hidden)
    token = self.param("token", nn.initializers.truncated_normal(0.02), x.shape[-1:], jnp.float32)
    return jnp.where(hidden[..., None], token.astype(x.dtype), x)


class LinearHead(nn.Module):
  """A decoder of one layer: $y_i = W x_i + b$, a 1 x 1 convolution and a pixel shuffle.

  Source: Xie et al. 2022 (SimMIM), section 3.3.
  """

  outputs: int
  dtype: str = "float32"

  @nn.compact
  def __call__(
    self, tokens: Float[Array, "*b m d"], hidden: Bool[Array, "*b n"], grid: tuple[int, ...]
  ) -> Decoded:
    """Predicts every position, in float32; tokens in front of those of positions say nothing."""
    tokens = tokens[..., tokens.shape[-2] - hidden.shape[-1] :, :]
    x = Dense(self.outputs, dtype=self.dtype, name="predict")(tokens)
    return Decoded(x.astype(jnp.float32))


def linear_head(*, encoder: ViT | ResNetClassifier, outputs: int) -> LinearHead:
  """The linear head of an encoder that sees all positions.

  Args:
    encoder: whose dtype it has.
    outputs: numbers that are predicted at each position.
  """
  return LinearHead(outputs, encoder.dtype)


class InPlaceDecoder(nn.Module):
  """A decoder of an encoder that saw mask tokens: blocks, a normalisation and a linear layer.

  Tokens have the encoder's width, and positions are not told again.

  Sources: Pai et al. 2024 (CRATE-MAE), by its public code; Xie et al. 2022 (SimMIM), its heavier
  prediction heads.
  """

  outputs: int
  sizes: dict[str, Any]

  @nn.compact
  def __call__(
    self, tokens: Float[Array, "*b m d"], hidden: Bool[Array, "*b n"], grid: tuple[int, ...]
  ) -> Decoded:
    """Predicts every position, in float32, from all tokens, those in front of positions too."""
    x = read_out(tokens, self.outputs, dict(self.sizes))
    return Decoded(x[..., tokens.shape[-2] - hidden.shape[-1] :, :])


@bind.least(depth=1)
def in_place_decoder(
  *,
  encoder: ViT,
  outputs: int,
  depth: int = 12,
  heads: int | None = None,
  block: partial[nn.Module] | None = None,
) -> InPlaceDecoder:
  """The decoder behind an encoder that sees all positions, mask tokens among them.

  Args:
    encoder: whose width, dtype and normalisation it has.
    outputs: numbers that are predicted at each position.
    depth: number of blocks.
    heads: of each block; None for as many as in the encoder.
    block: another kind of block, see `maskjax.model.transformer`.

  Raises:
    BadInput: heads that do not divide the width.

  >>> from maskjax.model.vit import vit
  >>> encoder = vit(record_shape=(8, 8, 3), patch=(4, 4), size="mu")
  >>> in_place_decoder(encoder=encoder, outputs=48, depth=2).sizes["mlp"]
  128
  """
  heads = encoder.heads if heads is None else heads
  check_heads("width", encoder.width, heads)
  sizes = dict(follows(encoder), depth=depth, heads=heads, mlp=4 * encoder.width, block=block)
  del sizes["grid"]
  return InPlaceDecoder(outputs, sizes)
