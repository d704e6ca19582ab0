"""What networks need where hidden patches stay in the sequence: a mask token, and a linear head."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import masks
from maskjax.model.dense import Dense
from maskjax.model.masked_decoder import Decoded
from maskjax.model.resnet import ResNetClassifier
from maskjax.model.vit import ViT


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
