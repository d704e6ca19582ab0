"""The log-probability of a mask under its scores, which policy gradients learn from."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import masks, reduce


def log_prob(
  scores: Float[Array, "*b n"],
  hidden: Bool[Array, "*b n"],
  where: Bool[Array, "*#b n"] | None = None,
) -> Float[Array, "*b"]:
  r"""The log-probability of the hidden positions, each drawn from the softmax of the scores.

  $\sum_{i\,\mathrm{hidden}} \log \mathrm{softmax}(s)_i$ in float32, over the positions that count
  (`where`); the others, NaN included, reach neither the result nor a gradient. 0 where nothing is
  hidden. Draws count as independent: of several without replacement this is not the exact
  probability, but what is used.

  Args:
    scores: logits of the positions.
    hidden: the positions that were drawn.
    where: positions that could have been drawn; None: all.

  Returns:
    Nats, at most 0.

  Raises:
    TypeError: `hidden` or `where` is not bool.

  Source: the sampling loss of Bandara et al. 2023 (AdaMAE) and of its code. There the term of every
  hidden position is weighted by its own error; of this sum only an example's error can be.

  >>> float(jnp.exp(log_prob(jnp.zeros(4), jnp.array([True, False, False, True]))))
  0.0625
  """
  where = jnp.ones((), jnp.bool_) if where is None else where
  masks.check(hidden=hidden, where=where)
  where = jnp.broadcast_to(where, scores.shape)
  # A row in which nothing counts sums over zeros: the slope at nothing but -inf would be NaN.
  nothing = jnp.where(jnp.any(where, axis=-1, keepdims=True), -jnp.inf, 0)
  total = jax.nn.logsumexp(
    jnp.where(where, scores.astype(jnp.float32), nothing), axis=-1, keepdims=True
  )
  return reduce.sum(scores - total, hidden & where, axis=-1)
