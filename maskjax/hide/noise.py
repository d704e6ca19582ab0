"""Hiding behind noise: content fades into it, by a little or for good."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from maskjax import masks


def noise(
  x: Float[Array, "*b n d"],
  hidden: Bool[Array, "*b n"],
  keys: Key[Array, "*b"],
  *,
  alpha: float | Float[Array, ""] | Float[Array, "*b"],
  deviation: float = 1.0,
) -> Float[Array, "*b n d"]:
  r"""Degrades: $\sqrt\alpha\,x + \sqrt{1 - \alpha}\,\epsilon$, Gaussian $\epsilon$, where hidden.

  Args:
    x: content.
    hidden: where noise is added.
    keys: one per example.
    alpha: share of the content's mean square that is left, one for all or one per example: 1
      changes nothing, 0 leaves nothing of what is hidden, which is then as good as removed.
    deviation: of the noise $\epsilon$; with the root mean square of the content the sum has, at
      every alpha, the mean square of the content.

  Returns:
    The content, with noise where it is hidden.

  Raises:
    TypeError: `hidden` is not bool.

  Source: Ho et al. 2020, "Denoising Diffusion Probabilistic Models", equation 4.

  >>> x, hidden = jnp.ones((2, 1)), jnp.array([False, True])
  >>> noise(x, hidden, jax.random.key(0), alpha=1.0).tolist()
  [[1.0], [1.0]]
  >>> (noise(x, hidden, jax.random.key(0), alpha=0.5) == x)[:, 0].tolist()
  [True, False]
  """
  masks.check(hidden=hidden)
  drawn = jax.vmap(lambda key: jax.random.normal(key, x.shape[-2:], jnp.float32))(keys.reshape(-1))
  left = jnp.asarray(alpha, jnp.float32)[..., None, None]
  mixed = jnp.sqrt(left) * x + jnp.sqrt(1 - left) * deviation * drawn.reshape(x.shape)
  return jnp.where(hidden[..., None], mixed.astype(x.dtype), x)
