"""A network that says which tokens are worth seeing."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from maskjax.model.transformer import Block
from maskjax.score import Draw, draw_kept


class Sampler(nn.Module):
  r"""Draws the tokens to keep from a distribution over all of them, which it learns.

  $p = \mathrm{softmax}(w^\top \mathrm{block}(x + e) + b)$ over an example's tokens x, with e a
  learned table of positions and one transformer block; those kept are drawn without replacement.

  Attributes:
    heads: of the block's attention.
    norm_eps: added to the variance in the block's normalisations.
    dtype: of the block; parameters and logits are float32.

  Source: Bandara et al. 2023 (AdaMAE), section 3.2; the block's MLP is that of its authors' code.
  """

  heads: int = 8
  norm_eps: float = 1e-5
  dtype: str = "float32"

  @nn.compact
  def __call__(self, keys: Key[Array, "*b"], tokens: Float[Array, "*b n d"]) -> Draw:
    """Tokens to scores, low where a token is worth seeing, and their log-probabilities."""
    n, width = tokens.shape[-2:]
    position = self.param("position", nn.initializers.zeros, (n, width), jnp.float32)
    x = (tokens + position).astype(self.dtype)
    x = Block(self.heads, 4 * width, self.dtype, self.norm_eps, name="block")(x)
    xavier = nn.initializers.xavier_uniform()
    logits = nn.Dense(1, kernel_init=xavier, name="logit")(x.astype(jnp.float32))
    return draw_kept(keys, logits[..., 0])
