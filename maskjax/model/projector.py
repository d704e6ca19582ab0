"""A projector or predictor: layers with batch normalisation over vectors of examples."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from maskjax import bind
from maskjax.model.partial import MaskedNorm
from maskjax.model.vit import ViT


class Projector(nn.Module):
  """Linear layers without biases, all but the last followed by batch normalisation and ReLU.

  Source: Grill et al. 2020 (BYOL); without the last bias, Chen et al. 2021 (MoCo v3).
  """

  coupled = True

  width: int
  depth: int
  outputs: int

  @nn.compact
  def __call__(self, x: Float[Array, "b d"], train: bool = False) -> Float[Array, "b outputs"]:
    """The vectors, in float32; without `train` normalised by the running statistics."""
    xavier, x = nn.initializers.xavier_uniform(), x.astype(jnp.float32)
    for i in range(self.depth - 1):
      x = nn.Dense(self.width, use_bias=False, kernel_init=xavier, name=f"dense_{i}")(x)
      x, _ = MaskedNorm(momentum=0.9, epsilon=1e-5, name=f"norm_{i}")(x, None, not train)
      x = jax.nn.relu(x)
    return nn.Dense(self.outputs, use_bias=False, kernel_init=xavier, name="out")(x)


@bind.least(width=8)
def projector(*, encoder: ViT, width: int = 4096, depth: int = 2) -> Projector:
  """A projector of an encoder's features, or a predictor after one, of the encoder's width.

  Args:
    encoder: whose width it gives back.
    width: of the layers between.
    depth: linear layers in all.
  """
  return Projector(width, depth, encoder.width)
