"""Soft masks: gates from scores, 1 = kept, and the hidden positions that they end in."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax import masks, reduce
from maskjax.errors import BadInput
from maskjax.select.top import Count, Ratio, threshold, top


def sigmoid(
  scores: Float[Array, "*b n"],
  *,
  temperature: float | Float[Array, ""] = 1.0,
  stretch: tuple[float, float] = (0.0, 1.0),
) -> Float[Array, "*b n"]:
  r"""A gate for every position by itself, in float32: the higher the score, the more it closes.

  $\mathrm{clip}(\gamma + (\zeta - \gamma)\,\sigma(-s / \tau), 0, 1)$ where `stretch` is
  $(\gamma, \zeta)$; beyond (0, 1), gates close and open fully. Of scores with logistic noise this
  is the concrete gate, with `stretch=(-0.1, 1.1)` the hard concrete one. A NaN score gives gate 1.

  Args:
    scores: high closes the gate, 0 leaves it half open.
    temperature: above 0; the lower, the harder.
    stretch: the gate's limits before it is clipped to [0, 1].

  Returns:
    Gates in [0, 1], 1 = kept.

  Raises:
    BadInput: a `stretch` that does not rise.

  >>> sigmoid(jnp.array([-9., 0., 9.]), stretch=(-0.1, 1.1)).tolist()
  [1.0, 0.5, 0.0]

  Source: Louizos et al., "Learning Sparse Neural Networks through L0 Regularization", 2018,
  section 2.2.
  """
  low, high = stretch
  if low >= high:
    raise BadInput(f"stretch is (low, high) with low below high, got {stretch}")
  scores = scores.astype(jnp.float32)
  scores = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
  return jnp.clip(low + (high - low) * jax.nn.sigmoid(-scores / temperature), 0, 1)


def softmax(
  scores: Float[Array, "*b p"],
  *,
  patterns: Bool[Array, "p n"],
  temperature: float | Float[Array, ""] = 1.0,
) -> Float[Array, "*b n"]:
  r"""The expected gates of n positions that hide by one of p patterns, in float32.

  $\sum_p \mathrm{softmax}(s / \tau)_p\,(1 - \mathrm{hidden}_p)$. A pattern whose score is NaN has
  no share; where all are NaN, nothing is hidden. With Gumbel noise in the scores this is the
  Gumbel softmax over patterns.

  Args:
    scores: of p patterns; the highest is the likeliest.
    patterns: what each hides of n positions.
    temperature: above 0; the lower, the harder.

  Returns:
    Gates in [0, 1], 1 = kept.

  Raises:
    TypeError: `patterns` are not bool.

  >>> patterns = jnp.array([[True, False], [False, True]])
  >>> softmax(jnp.array([0., jnp.inf]), patterns=patterns).tolist()
  [1.0, 0.0]

  Source: Fang et al., "MaskLLM: Learnable Semi-Structured Sparsity for Large Language Models",
  2024, section 3.2.
  """
  masks.check(patterns=patterns)
  scores = scores.astype(jnp.float32) / temperature
  known = ~jnp.isnan(scores)
  kept = jnp.matmul(
    reduce.softmax(scores, known), (~patterns).astype(jnp.float32), precision="highest"
  )
  return jnp.where(jnp.any(known, axis=-1, keepdims=True), kept, 1)


def shares(
  scores: Float[Array, "*b n"],
  *,
  segment: Int[Array, "*#b n"] | None = None,
  segments: int = 1,
  temperature: float | Float[Array, ""] = 1.0,
  allowed: Bool[Array, "*#b n"] | None = None,
) -> Float[Array, "*b n"]:
  r"""Gates that share out one unit among the allowed positions of every segment, in float32.

  $g_i = e^{-s_i / \tau} / \sum_{j \in S(i)} e^{-s_j / \tau}$: the higher the score, the smaller the
  share; a score of $-\infty$ or NaN takes all, with others like it in equal parts. What is not
  allowed, or whose segment is not in 0 to `segments` - 1, has none. Without a `segment` for each
  position all are of one. Where the segments are the edges that end at a node, gates are the
  bandwidths of its messages.

  Args:
    scores: high is a small share.
    segment: of each position, in [0, segments); None: all are of one.
    segments: how many there are, static.
    temperature: above 0; the lower, the less equal.
    allowed: positions that may have a share; None: all.

  Returns:
    Gates in [0, 1] that add up to 1 in each segment with an allowed position.

  Raises:
    TypeError: `allowed` is not bool.

  >>> shares(jnp.array([1., 1., 7.]), segment=jnp.array([0, 0, 1]), segments=2).tolist()
  [0.5, 0.5, 1.0]
  >>> shares(jnp.array([[1., 1.], [0., jnp.inf]])).tolist()
  [[0.5, 0.5], [1.0, 0.0]]

  Source: Zhao et al., "Masked Graph Autoencoder with Non-discrete Bandwidths", 2024, section 4.1.
  """
  allowed = jnp.ones(scores.shape, jnp.bool_) if allowed is None else allowed
  masks.check(allowed=allowed)
  segment = jnp.zeros(scores.shape[-1:], jnp.int32) if segment is None else segment
  scores = scores.astype(jnp.float32)
  logits = jnp.where(jnp.isnan(scores), jnp.inf, -scores / temperature)

  def share(logits, segment, allowed):  # type: ignore[no-untyped-def]
    inside = allowed & (segment >= 0) & (segment < segments)
    segment = jnp.where(inside, segment, 0)
    logits = jnp.where(inside, logits, -jnp.inf)
    top = jax.ops.segment_max(jax.lax.stop_gradient(logits), segment, segments)[segment]
    logits = jnp.where(top == jnp.inf, jnp.where(logits == jnp.inf, 0, -jnp.inf), logits)
    weight = jnp.where(inside, jnp.exp(logits - jnp.where(jnp.isfinite(top), top, 0)), 0)
    total = jax.ops.segment_sum(weight, segment, segments)[segment]
    return weight / jnp.where(total > 0, total, 1)

  return jnp.vectorize(share, signature="(n),(n),(n)->(n)")(logits, segment, allowed)


def harden(
  gate: Float[Array, "*b n"],
  *,
  count: Count | None = None,
  ratio: Ratio | None = None,
  below: float | Float[Array, "..."] | None = None,
  allowed: Bool[Array, "*#b n"] | None = None,
) -> Bool[Array, "*b n"]:
  """Hides the lowest gates: `count` or a `ratio` of them exactly, or all less than `below`.

  With none of the three, `below` is 0.5. Ties and NaN as in `top` and `threshold`.

  Args:
    gate: 1 = kept.
    count: how many to hide: an int, traced, or one per example.
    ratio: hidden share of the allowed positions, in [0, 1].
    below: the gate under which positions are hidden, one or one per example.
    allowed: positions that may be hidden; None: all.

  Returns:
    True where hidden.

  Raises:
    BadInput: more than one of the three given; see `count_of`.
    TypeError: `allowed` is not bool.

  >>> gate = jnp.array([0.9, 0.1, 0.5])
  >>> harden(gate).tolist(), harden(gate, count=2).tolist()
  ([False, True, False], [False, True, True])
  """
  if below is None and (count is not None or ratio is not None):
    return top(-gate, count=count, ratio=ratio, allowed=allowed)
  if count is not None or ratio is not None:
    raise BadInput(f"give one of count, ratio and below, got {count=}, {ratio=} and {below=}")
  return threshold(-gate, above=-jnp.asarray(0.5 if below is None else below), allowed=allowed)


def straight_through(
  gate: Float[Array, "*b n"], hidden: Bool[Array, "*b n"] | None = None
) -> Float[Array, "*b n"]:
  """The hard gate, exactly 0 where `hidden` and 1 elsewhere, with the gradient of the soft one.

  `hidden=None` means `harden(gate)`. The gradient is passed on as it came, also where it hides.

  Raises:
    TypeError: `hidden` is not bool.

  >>> straight_through(jnp.array([0.9, 0.1])).tolist()
  [1.0, 0.0]

  Source: Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons for
  Conditional Computation", 2013.
  """
  hidden = harden(gate) if hidden is None else hidden
  masks.check(hidden=hidden)
  return _straight_through(gate, hidden)


# A rule of its own, as `gate + stop_gradient(hard - gate)` is not exactly 0 and 1.
@jax.custom_jvp
def _straight_through(gate, hidden):  # type: ignore[no-untyped-def]
  return jnp.where(hidden, jnp.zeros_like(gate), jnp.ones_like(gate))


@_straight_through.defjvp
def _slope_of_the_soft_gate(primals, tangents):  # type: ignore[no-untyped-def]
  return _straight_through(*primals), tangents[0]
