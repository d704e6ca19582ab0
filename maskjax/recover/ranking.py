"""Losses of an order: what counts is which of two positions has more, not how much."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import masks, reduce


def pairwise_ranking(
  predicted: Float[Array, "*b n"], reward: Float[Array, "*b n"], asked: Bool[Array, "*b n"]
) -> reduce.Term:
  r"""Cross-entropy of which of two asked positions of an example has the larger reward, in nats.

  $\sum_{ij:\,r_i > r_j} -\log \sigma(p_i - p_j)$, counted over these pairs. Only the order of the
  rewards (losses, say) enters, and nothing of them has a gradient; of a pair that ties nothing is
  asked.

  Args:
    predicted: score of each position; higher is larger.
    reward: what ranks them in truth.
    asked: positions that are compared.

  Returns:
    Nats summed over the ordered pairs, and the number of these.

  Raises:
    TypeError: `asked` is not bool.

  >>> t = pairwise_ranking(jnp.zeros(3), jnp.array([2., 1., 1.]), jnp.array([True] * 3))
  >>> round(float(t.sum), 4), int(t.count)
  (1.3863, 2)

  Source: Wang et al. 2023 (HPM), section 3.3, its relative loss, which asks every pair both ways
  round; the mean is the same. Burges et al. 2005 (RankNet), equation 3.
  """
  masks.check(asked=asked)
  clean = lambda x: jnp.where(asked, x.astype(jnp.float32), 0)
  gap = lambda x: x[..., :, None] - x[..., None, :]
  larger = gap(jax.lax.stop_gradient(clean(reward))) > 0
  both = asked[..., :, None] & asked[..., None, :]
  return reduce.term(jax.nn.softplus(-gap(clean(predicted))), larger & both)
