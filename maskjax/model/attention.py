"""Attention: the plain reference, exact about hidden keys."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def attention(
  q: Float[Array, "*b h q d"],
  k: Float[Array, "*b h k d"],
  v: Float[Array, "*b h k d"],
  *,
  valid: Bool[Array, "*b k"] | None = None,
  bias: Float[Array, "*#b #h #q #k"] | None = None,
) -> Float[Array, "*b h q d"]:
  """Each query's average of the values, weighted by how well their keys match it.

  `softmax(q kᵀ / √d + bias) v`, logits and softmax in float32. Keys where `valid` is False are
  not there: they, NaN or not, change neither output nor gradient; a query left without keys gives
  zeros. `bias` is finite. `valid=None` is the plain layer.

  >>> one = jnp.ones((1, 1, 2, 4))
  >>> attention(one, one, one, valid=jnp.array([[False, False]])).sum().item()
  0.0

  Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.2.
  """
  if valid is not None:
    k, v = (jnp.where(valid[..., None, :, None], x, jnp.zeros_like(x)) for x in (k, v))
  scaled = q * q.shape[-1] ** -0.5
  logits = jnp.einsum("...qd,...kd->...qk", scaled, k, preferred_element_type=jnp.float32)
  if bias is not None:
    logits = logits + bias.astype(jnp.float32)
  if valid is not None:
    # Where every key is hidden the softmax is uniform, over values that are zero.
    logits = jnp.where(valid[..., None, None, :], logits, jnp.finfo(jnp.float32).min)
  return jax.nn.softmax(logits, axis=-1).astype(v.dtype) @ v


class Attention(nn.Module):
  """Multi-head self-attention; the fused projection is ordered (q, k, v), head, width of a head."""

  heads: int
  dtype: str = "float32"

  @nn.compact
  def __call__(
    self, x: Float[Array, "*b n d"], valid: Bool[Array, "*b n"] | None = None
  ) -> Float[Array, "*b n d"]:
    """Mixes the tokens; those where `valid` is False are seen by none."""
    dense = lambda width, name: nn.Dense(
      width, dtype=self.dtype, kernel_init=nn.initializers.xavier_uniform(), name=name
    )
    *batch, n, width = x.shape
    # Heads before tokens: XLA's small matrix products on a CPU are a third faster that way.
    split = lambda part: jnp.swapaxes(part.reshape(*batch, n, self.heads, -1), -2, -3)
    q, k, v = (split(part) for part in jnp.split(dense(3 * width, "qkv")(x), 3, axis=-1))
    mixed = jnp.swapaxes(attention(q, k, v, valid=valid), -2, -3)
    return dense(width, "out")(mixed.reshape(*batch, n, width))
