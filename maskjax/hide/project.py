"""Hiding by a projection: what is hidden is left in a subspace of few dimensions."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax import masks


def project(
  x: Float[Array, "*b n d"],
  hidden: Bool[Array, "*b n"],
  unit: Int[Array, "*#b n"],
  negative: Bool[Array, "*#b n"],
) -> Float[Array, "*b n d"]:
  r"""Degrades: orthogonal projection of what is hidden to a signed mean for each unit, $P x$.

  $(P x)_i = \frac{s_i}{|U_i|} \sum_{j \in U_i} s_j x_j$ with $U_i$ the hidden positions of i's
  unit: $P = S D^{-1} S^\top$ of a count sketch S, which has a signed column for each unit, and
  D the units' sizes. Visible positions stay as they are. $P^2 = P = P^\top$ whatever the units'
  sizes. P is held as n x n numbers an example.

  Args:
    x: what stands at n positions.
    hidden: True where hidden.
    unit: the unit of each position.
    negative: where the sign $s_i$ is -1, else 1.

  Returns:
    The projection.

  Raises:
    TypeError: `hidden` or `negative` is not bool.

  Source: Haghighat et al. 2024 (ROPIM), section 3.

  >>> x, hidden = jnp.array([[1.], [3.], [8.]]), jnp.array([True, True, False])
  >>> project(x, hidden, jnp.array([0, 0, 0]), jnp.array([False, True, False])).ravel().tolist()
  [-1.0, 1.0, 8.0]
  """
  masks.check(hidden=hidden, negative=negative)
  pair = lambda a: (a[..., :, None], a[..., None, :])
  (unit_i, unit_j), (gone_i, gone_j) = pair(unit), pair(hidden)
  together = (unit_i == unit_j) & gone_i & gone_j | jnp.eye(x.shape[-2], dtype=bool)
  size = jnp.sum(together, axis=-1, keepdims=True, dtype=jnp.float32)
  sign_i, sign_j = pair(jnp.where(negative, jnp.float32(-1), jnp.float32(1)))
  projection = jnp.where(together, sign_i * sign_j / size, 0)
  # In full float32 on accelerators too: a loss is of what is left over.
  left = jnp.matmul(projection, x.astype(jnp.float32), precision="highest")
  return left.astype(x.dtype)


def reject(
  x: Float[Array, "*b n d"],
  hidden: Bool[Array, "*b n"],
  unit: Int[Array, "*#b n"],
  negative: Bool[Array, "*#b n"],
) -> Float[Array, "*b n d"]:
  r"""What `project` takes away: the vector rejection $(I - P) x$.

  Args:
    x: what stands at n positions.
    hidden: True where hidden.
    unit: the unit of each position.
    negative: where the sign is -1.

  Returns:
    The part of x in the complement of the subspace, 0 at visible positions.

  Raises:
    TypeError: `hidden` or `negative` is not bool.

  Source: Haghighat et al. 2024 (ROPIM), section 3.2.

  >>> x, hidden = jnp.array([[1.], [3.], [8.]]), jnp.array([True, True, False])
  >>> reject(x, hidden, jnp.array([0, 0, 0]), jnp.array([False, True, False])).ravel().tolist()
  [2.0, 2.0, 0.0]
  """
  return x - project(x, hidden, unit, negative)
