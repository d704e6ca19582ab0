"""Hiding by degrees: content is multiplied by a gate, 1 = kept."""

from jaxtyping import Array, Float

from maskjax import masks


def gate(x: Float[Array, "*#b n d"], gate: Float[Array, "*#b n"]) -> Float[Array, "... n d"]:
  """Degrades, and removes where the gate is 0: `x · gate`, where 0 times anything, NaN too, is 0.

  Leading axes are broadcast: several gates may be about the same content. No gradient reaches
  content behind a closed gate; the slope of a gate is the content behind it, see
  `maskjax.masks.gated`.

  Args:
    x: what stands at n positions.
    gate: factor of each position: 1 = kept, 0 = hidden.

  Returns:
    The product.

  >>> import jax.numpy as jnp
  >>> gate(jnp.array([[2.], [jnp.nan]]), jnp.array([0.5, 0.])).tolist()
  [[1.0], [0.0]]
  """
  return masks.gated(x, gate[..., None])
