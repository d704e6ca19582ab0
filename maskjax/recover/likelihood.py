"""Likelihoods: what it costs to give the true class or token a low probability."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax import masks, reduce


def cross_entropy(
  logits: Float[Array, "*b c"],
  target: Int[Array, "*b"] | Float[Array, "*b c"],
  asked: Bool[Array, "*b"],
  *,
  smoothing: float = 0.0,
  weight: Float[Array, "*b"] | None = None,
) -> reduce.Term:
  r"""Cross-entropy in nats, of labels or of tokens, in float32.

  $\sum_{i\,\mathrm{asked}} -\sum_c q_{ic} \log \mathrm{softmax}(y_i)_c$, where $q_i$ is
  $1 - \epsilon$ on the target and $\epsilon / C$ spread over all C classes. A target is a class or
  the shares of all classes, which add up to 1. A `weight` multiplies the nats of its position,
  which counts as one whatever it weighs.

  Args:
    logits: of c classes.
    target: the class in [0, c), or the shares of all classes.
    asked: True where the loss counts.
    smoothing: $\epsilon$ in [0, 1).
    weight: of each position; None: 1.

  Returns:
    Nats summed over the asked positions, and how many these are.

  >>> t = cross_entropy(jnp.zeros((2, 4)), jnp.array([1, 9]), jnp.array([True, False]))
  >>> round(float(t.sum), 4), int(t.count)
  (1.3863, 1)
  """
  nats = nll(logits, target, asked)
  if smoothing:
    safe = jnp.where(asked[..., None], logits, 0).astype(jnp.float32)
    uniform = -jnp.mean(jax.nn.log_softmax(safe), axis=-1)
    nats = (1 - smoothing) * nats + smoothing * uniform
  nats = nats if weight is None else nats * jnp.where(asked, weight.astype(jnp.float32), 0)
  return reduce.term(nats, asked)


def elbo(
  logits: Float[Array, "*b n c"],
  target: Int[Array, "*b n"],
  hidden: Bool[Array, "*b n"],
  *,
  weight: Float[Array, "*b"],
  valid: Bool[Array, "*b n"] | None = None,
) -> reduce.Term:
  r"""The bound of masked diffusion at one time an example: nats, counted over all valid tokens.

  $w(t) \sum_{i\,\mathrm{hidden}} -\log p_\theta(x_i \mid x_{\mathrm{visible}})$, with
  $w(t) = -\alpha'(t) / (1 - \alpha(t))$ where a token is visible at time t with probability
  $\alpha(t)$. Its mean over t in [0, 1] bounds the negative log-likelihood from above.

  Args:
    logits: of c tokens at each position.
    target: the true tokens, in [0, c).
    hidden: True where hidden.
    weight: $w(t)$ at the example's time, at least 0.
    valid: False at padding; None: all are valid.

  Returns:
    Nats, and the number of valid tokens.

  Source: Shi et al. 2024 (MD4), equation 5.

  >>> hidden = jnp.array([[True, False]])
  >>> t = elbo(jnp.zeros((1, 2, 4)), jnp.array([[0, 1]]), hidden, weight=jnp.array([2.]))
  >>> round(float(t.sum), 4), int(t.count)
  (2.7726, 2)
  """
  nats = nll(logits, target, hidden) * weight[..., None]
  counted = jnp.ones_like(hidden) if valid is None else valid
  return reduce.Term(reduce.sum(nats, hidden), reduce.count(counted))


def mixed_labels(
  label: Int[Array, "*b"],
  other: Int[Array, "*b"],
  hidden: Bool[Array, "*b n"] | Float[Array, "*b n"],
  *,
  classes: int,
) -> Float[Array, "*b c"]:
  r"""Shares of two classes, for an example of which some positions are another one's.

  $(1 - \lambda)\,e_y + \lambda\,e_{y'}$ with $\lambda$ the share that is hidden, in float32; of a
  gate $\lambda$ is the mean of 1 - gate.

  Args:
    label: of the example.
    other: of its mixup partner.
    hidden: where the partner stands in its place, a mask; or a gate, floating, how much of the
      example is left there.
    classes: number of classes.

  Raises:
    TypeError: `hidden` is neither.

  >>> hidden = jnp.array([True, False, False, False])
  >>> mixed_labels(jnp.array(0), jnp.array(2), hidden, classes=3).tolist()
  [0.75, 0.0, 0.25]

  Sources: Yun et al. 2019 (CutMix), equation 1; Harris et al. 2020 (FMix), section 4.
  """
  if not jnp.issubdtype(hidden.dtype, jnp.floating):
    masks.check(hidden=hidden)
  taken = hidden if hidden.dtype == bool else 1 - hidden
  share = jnp.mean(taken.astype(jnp.float32), axis=-1)[..., None]
  one_hot = lambda label: jax.nn.one_hot(label, classes)
  return (1 - share) * one_hot(label) + share * one_hot(other)


def gaussian_nats(mean: Float[Array, "*b"], log_variance: Float[Array, "*b"]) -> Float[Array, "*b"]:
  r"""Nats of each Gaussian beyond N(0, 1): $\frac12 (\mu^2 + \sigma^2 - 1 - \ln \sigma^2)$.

  Source: Kingma and Welling, "Auto-Encoding Variational Bayes", 2014, appendix B.

  >>> gaussian_nats(jnp.ones(1), jnp.zeros(1)).tolist()
  [0.5]
  """
  return 0.5 * (jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance)


def kl_divergence(mean: Float[Array, "*b"], log_variance: Float[Array, "*b"]) -> reduce.Term:
  r"""Nats of each latent's Gaussian beyond N(0, 1), all of them counted.

  $\sum \frac12 (\mu^2 + \sigma^2 - 1 - \ln \sigma^2)$

  Args:
    mean: $\mu$ of each latent.
    log_variance: $\ln \sigma^2$ of each latent.

  >>> t = kl_divergence(jnp.ones((1, 2)), jnp.zeros((1, 2)))
  >>> float(t.sum), int(t.count)
  (1.0, 2)

  Source: Kingma and Welling, "Auto-Encoding Variational Bayes", 2014, appendix B.
  """
  nats = gaussian_nats(mean, log_variance)
  return reduce.term(nats, jnp.ones(nats.shape, jnp.bool_))


def nll(
  logits: Float[Array, "*b c"],
  target: Int[Array, "*b"] | Float[Array, "*b c"],
  asked: Bool[Array, "*b"],
) -> Float[Array, "*b"]:
  """`-log softmax(logits)[target]` in nats where asked, 0 elsewhere, whatever stands there.

  Of shares of classes, the mean over them.

  Args:
    logits: of c classes.
    target: the class in [0, c), or the shares of all classes.
    asked: True where the loss counts.

  Returns:
    Nats of each position, at least 0.

  >>> nll(jnp.zeros((1, 2)), jnp.array([0]), jnp.array([False])).tolist()
  [0.0]
  """
  masks.check(asked=asked)
  logits = jnp.where(asked[..., None], logits.astype(jnp.float32), 0)
  if jnp.issubdtype(target.dtype, jnp.floating):
    shares = jnp.where(asked[..., None], target.astype(jnp.float32), 0)
    chosen = jnp.sum(jnp.where(shares == 0, 0, shares * logits), axis=-1)
  else:
    # A sum against one-hot rather than a gather: its gradient is no scatter.
    picked = jnp.where(asked, target, 0)[..., None] == jnp.arange(logits.shape[-1])
    chosen = jnp.sum(jnp.where(picked, logits, 0), axis=-1)
  return jnp.where(asked, jax.nn.logsumexp(logits, axis=-1) - chosen, 0)
