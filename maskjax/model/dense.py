"""The dense layer of the models here."""

import flax.linen as nn
from jaxtyping import Array, Float


class Dense(nn.Dense):
  """`x w + b` over the last axis, as `flax.linen.Dense`, with all other axes met as one.

  On a CPU the gradient of `w` is then a single product of what is there; with more axes XLA first
  writes both factors out transposed, and computes what they come from once more.
  """

  def __call__(self, inputs: Float[Array, "*b d"]) -> Float[Array, "*b {self.features}"]:
    """Applied to every position by itself."""
    rows = super().__call__(inputs.reshape(-1, inputs.shape[-1]))
    return rows.reshape(*inputs.shape[:-1], self.features)
