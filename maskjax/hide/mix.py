"""Hiding behind another example: content of two examples side by side in one."""

from jaxtyping import Array, Bool, Num

from maskjax.hide.fill import fill


def mix(
  x: Num[Array, "*b n d"], hidden: Bool[Array, "*b n"], other: Num[Array, "*b n d"]
) -> Num[Array, "*b n d"]:
  """Removes: what stands at the same position of `other` takes the place of what is hidden.

  Hidden content of `x` and visible content of `other` reach neither the result nor a gradient.

  Args:
    x: what stands at n positions.
    hidden: True where hidden.
    other: of another example, at the same positions.

  Returns:
    `x` where visible, `other` where hidden.

  Raises:
    TypeError: `hidden` is not bool.

  Sources: Yun et al. 2019 (CutMix), equation 1; Harris et al. 2020 (FMix), section 4.

  >>> import jax.numpy as jnp
  >>> mix(jnp.zeros((2, 1)), jnp.array([False, True]), jnp.ones((2, 1))).tolist()
  [[0.0], [1.0]]
  """
  return fill(x, hidden, other)
