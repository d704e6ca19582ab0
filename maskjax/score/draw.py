"""Scores of masks that are drawn from a distribution, with what policy gradients learn it from."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from maskjax.score.noise import gumbel


class Draw(NamedTuple):
  """Scores with their randomness in them, and the distribution behind it.

  Attributes:
    scores: how much hiding is wanted at each position.
    log_prob: of each position, that a single draw is this one, without the noise of the scores.
  """

  scores: Float[Array, "*b n"]
  log_prob: Float[Array, "*#b n"]


def draw_kept(keys: Key[Array, "*b"], logits: Float[Array, "*#b n"]) -> Draw:
  r"""Draws which positions are kept: those with the lowest k scores, without replacement.

  The lowest k scores are k draws from $p = \mathrm{softmax}(\ell)$, each without those before it,
  so `select.top` keeps what was drawn, whatever its count. `log_prob` is $\log p$, in float32, and
  the only way to the logits' gradient.

  Source: Bandara et al. 2023 (AdaMAE), section 3.2, whose visible tokens are drawn like this; Kool
  et al. 2019 for the draw, see `gumbel`.

  >>> drawn = draw_kept(jax.random.key(0), jnp.array([0.0, 50.0, 0.0]))
  >>> int(drawn.scores.argmin()), round(float(drawn.log_prob[1]), 4)
  (1, 0.0)
  """
  noisy = gumbel(keys, jax.lax.stop_gradient(logits))
  return Draw(-noisy, jax.nn.log_softmax(logits.astype(jnp.float32)))
