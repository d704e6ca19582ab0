"""Scores of what a network knows least: high where its prediction is least certain."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from maskjax.keys import stream


def confidence(
  logits: Float[Array, "*b n v"],
  tokens: Int[Array, "*b n"],
  keys: Key[Array, "*b"],
  step: Int[Array, ""] | int = 0,
  *,
  noise: float | Float[Array, ""] = 0.0,
) -> Float[Array, "*b n"]:
  r"""Surprise at the token that was drawn: $-(\log p(x_i) + \tau g_i)$, g standard Gumbel noise.

  Args:
    logits: of the v tokens at each position.
    tokens: what was drawn there.
    keys: typed, one per example.
    step: of decoding; each has noise of its own.
    noise: $\tau$, the weight of the Gumbel noise; 0: none.

  Returns:
    Nats; high is least certain.

  Source: Chang et al. 2022 (MaskGIT), section 3.2, whose code adds the noise.

  >>> score = confidence(jnp.zeros((1, 4)), jnp.array([2]), jax.random.key(0))
  >>> round(score.item(), 4)
  1.3863
  """
  known = -nll_at(logits, tokens)
  draw = lambda key: jax.random.gumbel(
    stream(key, "confidence", step), logits.shape[-2:-1], mode="high"
  )
  gumbel = jax.vmap(draw)(keys.reshape(-1)).reshape(known.shape)
  return -(known + noise * gumbel)


def noisy_confidence(
  noisy: Float[Array, "*b n v"], tokens: Int[Array, "*b n"]
) -> Float[Array, "*b n"]:
  r"""Surprise at the token that was drawn, after the noise of drawing: $-\log p'(x_i)$.

  $p'$ is the softmax of the logits with the Gumbel noise whose largest is $x_i$: every token is the
  likeliest there, so that rare ones count as sure too. `confidence` is that before the noise.

  >>> round(noisy_confidence(jnp.array([[0., 3.]]), jnp.array([1])).item(), 4)
  0.0486
  """
  return nll_at(noisy, tokens)


def nll_at(logits: Float[Array, "*b n v"], tokens: Int[Array, "*b n"]) -> Float[Array, "*b n"]:
  """`-log softmax(logits)` at the tokens, in float32."""
  chosen = tokens[..., None] == jnp.arange(logits.shape[-1])
  known = jnp.where(chosen, jax.nn.log_softmax(logits.astype(jnp.float32)), 0)
  return -jnp.sum(known, axis=-1)


def entropy(logits: Float[Array, "*b n v"]) -> Float[Array, "*b n"]:
  r"""Entropy of the prediction in nats: $-\sum_c p_c \log p_c$.

  >>> round(entropy(jnp.zeros((1, 4))).item(), 4)
  1.3863
  """
  logits = logits.astype(jnp.float32)
  p = jax.nn.softmax(logits)
  return -jnp.sum(jnp.where(p > 0, p * jax.nn.log_softmax(logits), 0), axis=-1)


def margin(logits: Float[Array, "*b n v"]) -> Float[Array, "*b n"]:
  """How close the second likeliest comes to the likeliest: `p₂ - p₁`, at most 0.

  >>> round(margin(jnp.log(jnp.array([[0.5, 0.25, 0.25]]))).item(), 4)
  -0.25
  """
  likeliest, _ = jax.lax.top_k(jax.nn.softmax(logits.astype(jnp.float32)), 2)
  return likeliest[..., 1] - likeliest[..., 0]
