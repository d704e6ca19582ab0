"""How badly tokens of each class are predicted, and the weights of classes that follow."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax import reduce
from maskjax.recover import nll


def running_losses(
  logits: Float[Array, "*s b n v"],
  target: Int[Array, "*s b n"],
  asked: Bool[Array, "*s b n"],
  kind: Int[Array, "b n"],
  state: Float[Array, "c"] | None,
  *,
  classes: int = 17,
  decay: float = 0.999,
) -> tuple[Float[Array, "c"], Float[Array, "c"]]:
  r"""A moving average of the loss of each class, $m \bar\ell_c + (1 - m) \ell_c$, from 0 on.

  $\ell_c$ is the mean over the asked tokens of a class in the batch; where there are none its
  average stays. Nothing learns through it.

  Args:
    logits: at every token.
    target: the true ids.
    asked: which of them are asked.
    kind: the class of each token.
    state: the averages after the step before.
    classes: c.
    decay: m.

  Source: Yang, Zhang, Zhao, "Learning Better Masking for Better Language Model Pre-training", ACL
  2023, and its code.
  """
  before = jnp.zeros(classes) if state is None else state
  nats = nll(jax.lax.stop_gradient(logits), target, asked)
  kind = jnp.broadcast_to(kind, asked.shape)
  of_class = lambda x: jnp.zeros(classes).at[kind].add(x)
  total, count = reduce.combine(jax.lax.psum, (of_class(nats), of_class(1.0 * asked)))
  now = decay * before + (1 - decay) * total / jnp.maximum(count, 1)
  now = jnp.where(count > 0, now, before)
  return before, before if state is None else now


def loss_weights(
  states: Mapping[str, Array], *, name: str = "running", classes: int = 17, slope: float = 2.0
) -> Float[Array, "c"]:
  r"""Chances of classes by their average loss: $\sigma(\beta (\bar\ell_c - \mu) / s)$.

  $\mu$ and s are mean and deviation over the classes, s of classes - 1 degrees of freedom and
  1e-4 where it is 0.

  Args:
    states: what values kept after the last step.
    name: of the averages among them.
    classes: c.
    slope: $\beta$; 0: all alike.

  >>> [round(float(w), 3) for w in loss_weights({"running": jnp.array([1.0, 3.0])}, classes=2)]
  [0.196, 0.804]
  """
  losses = states[name] if name in states else jnp.zeros(classes)
  deviation = jnp.std(losses, ddof=1)
  scale = jnp.where(deviation == 0, 1e-4, deviation)
  return jax.nn.sigmoid(slope * (losses - losses.mean()) / scale)
