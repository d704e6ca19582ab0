"""Losses whose gradient is that of an expected reward, for masks that are drawn."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import masks, reduce
from maskjax.errors import unknown


def policy_gradient(
  log_prob: Float[Array, "*b"],
  reward: Float[Array, "*b"],
  asked: Bool[Array, "*b"] | None = None,
  *,
  baseline: float | Float[Array, ""] | str = 0.0,
  axis_name: Any = None,
) -> reduce.Term:
  r"""REINFORCE: the gradient of the mean term is minus that of the expected reward.

  $\sum_i -\log p_i\,(r_i - \beta)$, no gradient through the reward. `log_prob` is that of what was
  drawn: of an example's whole mask, or of one position. A `baseline` β that does not depend on the
  draw lowers the variance and leaves the expectation; "mean" is the mean reward of the others, and
  couples the examples of a batch (over a mapped axis, `axis_name` or else `reduce.axis()`, those of
  all devices).
  `asked=None` asks all. Minimising the term makes large rewards likelier.

  Args:
    log_prob: nats of what was drawn, at most 0.
    reward: the higher, the better.
    asked: True where the loss counts; None: everywhere.
    baseline: a reward to expect, or "mean".
    axis_name: the mapped axis that cuts the batch; None: that of `reduce.axis()`.

  Returns:
    The sum over the asked positions, and how many these are.

  Raises:
    BadInput: a `baseline` that is a word other than "mean".
    TypeError: `asked` is not bool.

  >>> t = policy_gradient(jnp.log(jnp.array([0.5])), jnp.array([2.]))
  >>> round(float(t.sum), 4)
  1.3863

  Source: Williams, "Simple Statistical Gradient-Following Algorithms for Connectionist
  Reinforcement Learning", 1992, section 4. The sampling loss of AdaMAE (Bandara et al. 2023), as
  its authors' code has it, is this with the log probability of each hidden position as `log_prob`,
  its reconstruction error as `reward`, and `asked=hidden`.
  """
  asked = jnp.ones(log_prob.shape, jnp.bool_) if asked is None else asked
  masks.check(asked=asked)
  reward = jax.lax.stop_gradient(reward.astype(jnp.float32))
  if isinstance(baseline, str):
    if baseline != "mean":
      raise unknown("baseline", baseline, ["mean"])
    baseline = _mean_of_the_others(reward, asked, axis_name)
  # Cut before the product: its slope at NaN is NaN, and 0 · NaN too.
  gain = jnp.where(asked, reward - jax.lax.stop_gradient(baseline), 0)
  return reduce.term(-jnp.where(asked, log_prob.astype(jnp.float32), 0) * gain, asked)


def _mean_of_the_others(
  reward: Float[Array, "*b"], asked: Bool[Array, "*b"], axis_name: Any
) -> Float[Array, "*b"]:
  """For each the mean over all the others; 0 where there is none."""
  total = reduce.term(reward, asked)
  axis_name = reduce.axis() if axis_name is None else axis_name
  if axis_name is not None:
    total = jax.lax.psum(total, axis_name)
  return (total.sum - reward) / jnp.maximum(total.count - 1, 1) * (total.count > 1)
