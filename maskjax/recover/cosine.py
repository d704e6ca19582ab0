"""The angle between what is predicted and its target."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import masks, reduce
from maskjax.recover.contrastive import l2_normalize


def cosine_distance(
  prediction: Float[Array, "*b d"],
  target: Float[Array, "*b d"],
  asked: Bool[Array, "*b"] | None = None,
) -> reduce.Term:
  r"""Squared distance of both vectors at length 1, in float32: $\sum 2 - 2 \cos(y, t)$.

  Args:
    prediction: vectors of any length.
    target: likewise; both may have gradients.
    asked: which of them count; None: all.

  Returns:
    The sum of distances in [0, 4], and the number of asked vectors.

  Raises:
    TypeError: `asked` that is not bool.

  Source: Grill et al. 2020 (BYOL), equation 2.

  >>> t = cosine_distance(jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 3.0]]))
  >>> float(t.sum), int(t.count)
  (2.0, 1)
  """
  asked = jnp.ones(prediction.shape[:-1], jnp.bool_) if asked is None else asked
  masks.check(asked=asked)
  # Cut here, not only in the sum: the slope at NaN is NaN, and 0 · NaN too.
  y, t = (jnp.where(asked[..., None], x.astype(jnp.float32), 0) for x in (prediction, target))
  return reduce.term(2 - 2 * jnp.sum(l2_normalize(y) * l2_normalize(t), axis=-1), asked)
