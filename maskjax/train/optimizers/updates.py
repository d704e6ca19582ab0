"""Update rules of optimisers by name, each with decoupled weight decay in its place."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

PyTree = Any


class Adan(NamedTuple):
  """State of `scale_by_adan`: steps so far, the three moving averages, the gradient before."""

  step: Int[Array, ""]
  mu: PyTree
  difference: PyTree
  nu: PyTree
  before: PyTree


def scale_by_adan(b1: float, b2: float, b3: float, eps: float) -> optax.GradientTransformation:
  r"""Adan: Adam with the moving average of how gradients change (Nesterov's momentum).

  With $d_t = g_t - g_{t-1}$, $d_1 = 0$: $m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t$,
  $v_t = \beta_2 v_{t-1} + (1 - \beta_2) d_t$, $n_t = \beta_3 n_{t-1} + (1 - \beta_3)
  (g_t + \beta_2 d_t)^2$; the step is
  $(\hat m_t + \beta_2 \hat v_t) / (\sqrt{\hat n_t} + \epsilon)$, where
  $\hat x_t = x_t / (1 - \beta^t)$.

  Args:
    b1: $\beta_1$ of the gradients, as in the authors' code: 1 minus what the paper calls so.
    b2: $\beta_2$ of their differences.
    b3: $\beta_3$ of the squares.
    eps: added to the root.

  `optax.adan` weighs the differences by 1 - b2 in both places, and adds 1e-8 inside the root
  too (optax issue 1715).

  Xie et al., "Adan: Adaptive Nesterov momentum algorithm", 2022, algorithm 1; code at
  github.com/sail-sg/Adan.
  """

  def init(params: PyTree) -> Adan:
    zeros = lambda: jax.tree.map(jnp.zeros_like, params)
    return Adan(jnp.zeros((), jnp.int32), zeros(), zeros(), zeros(), zeros())

  def update(grads: PyTree, state: Adan, params: PyTree = None) -> tuple[PyTree, Adan]:
    del params
    step = optax.safe_increment(state.step)
    average = lambda b, old, new: jax.tree.map(lambda o, n: b * o + (1 - b) * n, old, new)
    first = state.step == 0
    change = jax.tree.map(lambda g, p: jnp.where(first, 0, g - p), grads, state.before)
    mu, difference = average(b1, state.mu, grads), average(b2, state.difference, change)
    squares = jax.tree.map(lambda g, d: jnp.square(g + b2 * d), grads, change)
    nu = average(b3, state.nu, squares)
    c1, c2, c3 = (1 - b ** step.astype(jnp.float32) for b in (b1, b2, b3))
    moved = lambda m, v, n: (m / c1 + b2 * v / c2) / (jnp.sqrt(n / c3) + eps)
    return jax.tree.map(moved, mu, difference, nu), Adan(step, mu, difference, nu, grads)

  return optax.GradientTransformation(init, update)  # type: ignore[arg-type]


def _adamw(
  decay, adapted, /, *, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, mu_dtype=None, nesterov=False
):
  moments = optax.scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)
  return optax.chain(moments, decay)


def _adan(decay, adapted, /, *, b1=0.98, b2=0.92, b3=0.99, eps=1e-8):
  return optax.chain(scale_by_adan(b1, b2, b3, eps), decay)


def _sgd(decay, adapted, /, *, momentum=0.9, nesterov=False, accumulator_dtype=None):
  return optax.chain(optax.trace(momentum, nesterov, accumulator_dtype), decay)


def _lion(decay, adapted, /, *, b1=0.9, b2=0.99, mu_dtype=None):
  return optax.chain(optax.scale_by_lion(b1, b2, mu_dtype), decay)


def _lamb(decay, adapted, /, *, b1=0.9, b2=0.999, eps=1e-6, eps_root=0.0, mu_dtype=None):
  trust = optax.masked(optax.scale_by_trust_ratio(), adapted)
  return optax.chain(optax.scale_by_adam(b1, b2, eps, eps_root, mu_dtype), decay, trust)


def _lars(decay, adapted, /, *, momentum=0.9, nesterov=False, trust_coefficient=0.001, eps=0.0):
  trust = optax.scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps)
  return optax.chain(decay, optax.masked(trust, adapted), optax.trace(momentum, nesterov))


RULES: Mapping[str, Callable[..., optax.GradientTransformation]] = {
  "adam": _adamw,
  "adamw": _adamw,
  "adan": _adan,
  "lamb": _lamb,
  "lars": _lars,
  "lion": _lion,
  "sgd": _sgd,
}
