"""LIME: what each segment counts for an answer, by a linear model around an example."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import masks


@jax.jit
def lime(
  answer: Float[Array, "*b m"],
  hidden: Bool[Array, "*b m k"],
  *,
  width: float = 0.25,
  ridge: float = 1.0,
) -> Float[Array, "*b k"]:
  r"""How much each segment adds to an answer where it is visible, from m masks of k segments.

  $\min_{w, v} \sum_i \pi_i\, (y_i - v - w \cdot \mathrm{kept}_i)^2 + \mathrm{ridge}\, |w|^2$, with
  $\pi = e^{-d^2 / 2 \mathrm{width}^2}$, where d is one less the cosine of what is kept and all.

  Raises:
    TypeError: `hidden` is not bool.

  Source: Ribeiro et al., "Why Should I Trust You?", 2016, sections 3.2 to 3.4; distance, width and
  ridge are those of its public code for images.

  >>> hidden = jnp.array([[False, False], [True, False], [False, True], [True, True]])
  >>> [round(abs(float(w)), 2) for w in lime(jnp.array([3.0, 1.0, 3.0, 1.0]), hidden, ridge=1e-6)]
  [2.0, 0.0]
  """
  masks.check(hidden=hidden)
  kept, k = (~hidden).astype(jnp.float32), hidden.shape[-1]
  far = 1 - jnp.sqrt(kept.mean(axis=-1))
  near = jnp.exp(-jnp.square(far / width) / 2)[..., None]
  share = near / near.sum(axis=-2, keepdims=True)
  x = kept - jnp.sum(share * kept, axis=-2, keepdims=True)
  y = answer[..., None] - jnp.sum(share * answer[..., None], axis=-2, keepdims=True)
  across = jnp.swapaxes(near * x, -1, -2)
  square = jnp.matmul(across, x, precision="highest") + ridge * jnp.eye(k)
  return jnp.linalg.solve(square, jnp.matmul(across, y, precision="highest"))[..., 0]
