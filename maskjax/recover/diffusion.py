"""Masked diffusion: how much of an example is visible at a time, and what that time weighs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import reduce
from maskjax.schedule import Schedule

FIRST = 2.0**-24  # the smallest time but 0 that is drawn


class NoiseLevel(NamedTuple):
  """The state of the noising process at a time of each example.

  Attributes:
    alpha: the probability that a position is visible.
    weight: what the nats of the hidden positions weigh in the bound.
  """

  alpha: Float[Array, "*b"]
  weight: Float[Array, "*b"]


def noise_level(times: Float[Array, "*b"], schedule: Schedule, *, eps: float = 1e-4) -> NoiseLevel:
  r"""$\alpha(t)$ of a noise schedule and its weight $w(t) = -\alpha'(t) / (1 - \alpha(t))$.

  $\alpha(t) = \epsilon + (1 - 2 \epsilon) f(t)$: the schedule f, from 1 to 0, clipped to
  $[\epsilon, 1 - \epsilon]$, so that no weight is infinite. The slope at 0 is that at $2^{-24}$.

  Args:
    times: t, of each example.
    schedule: f.
    eps: by how much it is clipped.

  Returns:
    Both for each time.

  Source: Shi et al. 2024, "Simplified and Generalized Masked Diffusion for Discrete Data" (MD4),
  equations 4 and 5.

  >>> from maskjax.schedule import linear
  >>> level = noise_level(jnp.array([0.25]), linear(1.0, 0.0), eps=0.0)
  >>> level.alpha.tolist(), level.weight.tolist()
  ([0.75], [4.0])
  """
  alpha = lambda t: eps + (1 - 2 * eps) * schedule(t)
  # Of a schedule with an infinite slope at 0 the weight would be infinite there.
  inside = jnp.maximum(times, FIRST)
  slope = jax.vmap(jax.grad(alpha))(inside.reshape(-1)).reshape(times.shape)
  level = alpha(times)
  return NoiseLevel(level, -slope / (1 - level))


def clipped_nats(
  allowed: Bool[Array, "*b n"], schedule: Schedule, vocabulary: int, *, eps: float = 1e-4
) -> Float[Array, "*b"]:
  r"""What a clipped schedule leaves out of the bound: $(1 - \alpha(0))\, n \log V$ nats.

  At time 0 a share of $1 - \alpha(0)$ of the tokens is hidden already, and guessed uniformly.

  Args:
    allowed: the n tokens that count.
    schedule: as in `noise_level`.
    vocabulary: V.
    eps: by how much the schedule is clipped.

  Returns:
    The nats of each example.

  >>> from maskjax.schedule import linear
  >>> allowed = jnp.array([True, True, False])
  >>> clipped_nats(allowed, linear(1.0, 0.0), 4, eps=0.25).round(3).item()
  0.6930000185966492
  """
  hidden = 1 - noise_level(jnp.float32(0), schedule, eps=eps).alpha
  return hidden * jnp.log(float(vocabulary)) * reduce.count(allowed, axis=-1)
