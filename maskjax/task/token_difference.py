"""What makes one text different from another, and which tokens of it are like that."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax.task.token_statistics import TokenCounts


def tf_icf(
  target: TokenCounts, general: TokenCounts, *, relative: bool = False
) -> Float[Array, "v"]:
  r"""Term frequency in one text times inverse frequency in another: $p_u \log 1 / q_u$.

  $p_u$ and $q_u$ are the shares of token u among all of the target and of the general text; one
  that the general text does not have counts there as if it had it once.

  Args:
    target: counts of the text whose terms are weighed.
    general: counts of the text that it is held against.
    relative: $p_u \log p_u / q_u$ in its place: what is as frequent in both weighs nothing.

  >>> counts = lambda *n: TokenCounts(jnp.array(n), jnp.zeros(2), jnp.zeros(()))
  >>> [round(float(x), 3) for x in tf_icf(counts(8.0, 2.0), counts(9.0, 1.0))]
  [0.084, 0.461]
  """
  p = target.tokens / jnp.maximum(target.tokens.sum(), 1)
  q = jnp.maximum(general.tokens, 1) / jnp.maximum(general.tokens.sum(), 1)
  top = jnp.where(p > 0, p, 1) if relative else 1.0
  return p * jnp.log(top / q)


def nearest_anchor(
  cosines: Float[Array, "u u"],
  worth: Float[Array, "v"],
  content: Float[Array, "v"],
  *,
  anchors: int = 20,
) -> Float[Array, "v"]:
  """The largest cosine of each token id to one of the anchors, the ids of largest worth.

  Args:
    cosines: of every two of the first u ids, see `context_cosines`.
    worth: of each id as an anchor; those of the first u ids are.
    content: 0 for ids that are no anchors, stop words and signs, 1 for others.
    anchors: how many there are.

  Returns:
    The similarity, -1 for ids beyond the table.

  >>> cosines = jnp.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 1.0]])
  >>> nearest_anchor(cosines, jnp.array([0., 3., 1., 0.]), jnp.ones(4), anchors=1).tolist()
  [0.5, 1.0, 0.20000000298023224, -1.0]
  """
  worth = jnp.where(content > 0, worth, -jnp.inf)
  _, chosen = jax.lax.top_k(worth[: len(cosines)], anchors)
  beyond = len(worth) - len(cosines)
  return jnp.pad(cosines[:, chosen].max(-1), (0, beyond), constant_values=-1.0)


def rank_weights(
  similarity: Float[Array, "*b n"],
  unit: Int[Array, "*b n"],
  allowed: Bool[Array, "*b n"],
  *,
  alpha: float = 1.0,
) -> Float[Array, "*b n"]:
  r"""Weights that fall in a line with the rank of a position's unit: $U$ for the first, 1 the last.

  A unit is as similar as the most similar of its positions; of equal ones the earlier ranks first.
  The share of each position in the sum is mixed with even shares, $\alpha w_i + (1 - \alpha) / n$.

  Args:
    similarity: of each position.
    unit: that it belongs to, such as its word.
    allowed: positions that there are; others weigh nothing.
    alpha: the share of the weights, in [0, 1].

  Source: the authors' code of Wilf et al., "Difference-Masking", 2023.

  >>> s, u = jnp.array([0.1, 0.9, 0.3, 0.3]), jnp.array([0, 0, 1, 2])
  >>> [round(float(w), 3) for w in rank_weights(s, u, jnp.ones(4, bool))]
  [0.333, 0.333, 0.222, 0.111]
  """
  there = allowed[..., None, :] & allowed[..., :, None]
  same = (unit[..., :, None] == unit[..., None, :]) & there
  s = jnp.max(jnp.where(same, similarity[..., None, :], -jnp.inf), axis=-1)
  at = jnp.arange(unit.shape[-1])
  first = at == jnp.argmax(same, axis=-1)  # each unit once, at its first position
  mine, other = s[..., :, None], s[..., None, :]
  after = (other < mine) | ((other == mine) & (unit[..., None, :] >= unit[..., :, None]))
  weights = jnp.sum(after & first[..., None, :] & there, axis=-1, dtype=jnp.float32)
  weights = jnp.where(allowed, weights, 0)
  n, total = allowed.sum(-1, keepdims=True), weights.sum(-1, keepdims=True)
  mixed = alpha * weights / jnp.maximum(total, 1) + (1 - alpha) / jnp.maximum(n, 1)
  return jnp.where(allowed, mixed, 0)
