"""Schedules of mask ratios, temperatures, sparsity and learning rates: functions of `u in [0, 1]`.

A factory binds the numbers and gives back a `Schedule`, `u -> value`, elementwise and in float32.
`u` outside [0, 1] is clamped; the values at 0 and 1 are exactly the given ones, and the rest lie
between them. `at_step` and `at_epoch` turn a schedule into a function of the training step.
"""

import itertools
import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from maskjax.errors import BadInput
from maskjax.pace import Schedule, at_epoch, at_step, clamp, fraction
from maskjax.quantiles import beta, truncated_normal

__all__ = [
  "at_epoch",
  "at_step",
  "beta",
  "constant",
  "cosine",
  "cosine_tail",
  "during",
  "exponential",
  "linear",
  "piecewise",
  "piecewise_linear",
  "polynomial",
  "power",
  "quarter_cosine",
  "quarter_sine",
  "step",
  "truncated_normal",
  "warmup",
]


def constant(value: float) -> Schedule:
  """The same value throughout: $f(u) = v$.

  >>> constant(0.75)(0.3).item()
  0.75
  """
  return lambda u: jnp.full_like(clamp(u), value)


def linear(start: float, end: float) -> Schedule:
  r"""A straight line: $f(u) = s + (e - s)\,u$.

  >>> linear(0.5, 0.25)(jnp.array([0.0, 0.5, 1.0])).tolist()
  [0.5, 0.375, 0.25]
  """

  def value(u: Real[ArrayLike, "*b"]) -> Float[Array, "*b"]:
    u = clamp(u)
    return _between(start, end, u, 1 - u)

  return value


def cosine(start: float, end: float, offset: float = 0.0) -> Schedule:
  r"""Half a cosine, flat at both ends: $f(u) = s + (e - s)\,(1 - \cos \pi u) / 2$.

  With an `offset` o, not negative, otherwise `BadInput`, it begins with a slope:
  $f(u) = s + (e - s)\,(1 - c(u)^2 / c(0)^2)$ where $c(u) = \cos(\frac\pi2 (u + o) / (1 + o))$.

  Args:
    start: value at 0.
    end: value at 1.
    offset: $o$, at least 0; the larger, the steeper at 0.

  >>> cosine(1.0, 0.0)(jnp.array([0.0, 0.5, 1.0])).round(4).tolist()
  [1.0, 0.5, 0.0]

  Loshchilov and Hutter, "SGDR", 2017, equation 5, without restarts; the offset: Nichol and
  Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021, equation 17.
  """
  if not offset >= 0:
    raise BadInput(f"cosine: offset must not be negative, got {offset}")
  # The weights without the cancellation of 1 - cos near its zero.
  turn, top = np.float32(np.pi / 2 / (1 + offset)), np.cos(np.pi / 2 * offset / (1 + offset))
  weight = lambda u: jnp.sin(turn * u) * jnp.sin(turn * (u + 2 * offset)) / np.float32(top**2)
  rest = lambda u: jnp.square(jnp.sin(turn * u) / np.float32(top))

  def value(u: Real[ArrayLike, "*b"]) -> Float[Array, "*b"]:
    u = clamp(u)
    return _between(start, end, weight(u), rest(1 - u))

  return value


def cosine_tail(start: float, end: float, begin: float) -> Schedule:
  r"""What is left at `begin` of half a cosine: $f(u) = g(b + (1 - b)\,u)$ with g of `cosine`.

  A learning rate whose cosine is counted from the first step, warm-up included, has this shape
  after the warm-up.

  Args:
    start: where the whole half cosine begins; at 0 this one is further on.
    end: of both, at 1.
    begin: b, the share of the half cosine that is over at 0, in [0, 1).

  Raises:
    BadInput: `begin` outside [0, 1).

  >>> cosine_tail(1.0, 0.0, begin=0.5)(jnp.array([0.0, 1.0])).round(4).tolist()
  [0.5, 0.0]
  """
  if not 0 <= begin < 1:
    raise BadInput(f"cosine_tail: begin must lie in [0, 1), got {begin}")
  whole = cosine(start, end)
  return lambda u: whole(1 - np.float32(1 - begin) * (1 - clamp(u)))


def quarter_cosine(start: float, end: float) -> Schedule:
  r"""A quarter of a cosine, flat at the start: $f(u) = e + (s - e)\,\cos(\pi u / 2)$.

  >>> round(quarter_cosine(1.0, 0.0)(0.5).item(), 4)
  0.7071

  Chang et al., "MaskGIT", 2022, section 3.2 (the share of tokens still hidden).
  """
  # 1 - cos(πu/2) = 2 sin²(πu/4), without the cancellation.
  weight = lambda u: 2 * jnp.square(jnp.sin(np.float32(np.pi / 4) * u))
  rest = lambda u: jnp.sin(np.float32(np.pi / 2) * (1 - u))

  def value(u: Real[ArrayLike, "*b"]) -> Float[Array, "*b"]:
    u = clamp(u)
    return _between(start, end, weight(u), rest(u))

  return value


def quarter_sine(start: float, end: float) -> Schedule:
  r"""A quarter of a sine, flat at the end: $f(u) = s + (e - s)\,\sin(\pi u / 2)$.

  >>> round(quarter_sine(1.0, 0.0)(0.5).item(), 4)
  0.2929

  Shi et al., "MD4", 2024, table 4: its cosine schedule, from 1 to 0.
  """
  mirrored = quarter_cosine(end, start)
  return lambda u: mirrored(1 - clamp(u))


def power(start: float, end: float, power: float = 2.0) -> Schedule:
  r"""Slow first, steep at the end: $f(u) = s + (e - s)\,u^p$.

  `power` is positive, otherwise `BadInput`; below 1 the slope at `u = 0` is infinite.

  Args:
    start: value at 0.
    end: value at 1.
    power: $p$, above 0.

  >>> power(1.0, 0.0, power=2.0)(0.5).item()
  0.75

  Shi et al., "MD4", 2024, table 4: its polynomial schedule, from 1 to 0.
  """
  mirrored = polynomial(end, start, power)
  return lambda u: mirrored(1 - clamp(u))


def polynomial(start: float, end: float, power: float = 3.0) -> Schedule:
  r"""Fast first, flat at the end: $f(u) = e + (s - e)\,(1 - u)^p$.

  `power` is positive, otherwise `BadInput`; below 1 there is no slope at `u = 1`.

  Args:
    start: value at 0.
    end: value at 1.
    power: $p$, above 0.

  >>> polynomial(0.0, 1.0, power=3.0)(0.5).item()
  0.875

  Zhu and Gupta, "To prune, or not to prune", 2017, equation 1 (sparsity, with p = 3).
  """
  if not power > 0:
    raise BadInput(f"polynomial: power must be positive, got {power}")

  def value(u: Real[ArrayLike, "*b"]) -> Float[Array, "*b"]:
    rest = (1 - clamp(u)) ** float(power)
    return _between(start, end, 1 - rest, rest)

  return value


def exponential(start: float, end: float) -> Schedule:
  r"""Constant ratio per step, a straight line in the logarithm: $f(u) = s\,(e / s)^u$.

  Both ends are positive, otherwise `BadInput`.

  >>> round(exponential(1.0, 0.01)(0.5).item(), 6)
  0.1
  """
  if not (start > 0 and end > 0):
    raise BadInput(f"exponential: start and end must be positive, got {start} and {end}")
  log_ratio = math.log(end) - math.log(start)

  def value(u: Real[ArrayLike, "*b"]) -> Float[Array, "*b"]:
    u = clamp(u)
    return jnp.where(u < 0.5, start * jnp.exp(u * log_ratio), end * jnp.exp((u - 1) * log_ratio))

  return value


def step(values: Sequence[float], boundaries: Sequence[float]) -> Schedule:
  r"""A staircase: $f(u) = v_i$ where $i$ counts the boundaries that are $\le u$.

  `boundaries` increase strictly inside (0, 1), one fewer than `values`, otherwise `BadInput`.

  >>> step([1.0, 0.5, 0.25], [0.5, 0.75])(jnp.array([0.0, 0.5, 1.0])).tolist()
  [1.0, 0.5, 0.25]
  """
  return piecewise([constant(value) for value in values], boundaries)


def piecewise_linear(values: Sequence[float], boundaries: Sequence[float] = ()) -> Schedule:
  r"""Straight lines from value to value: $f(b_i) = v_i$, where $b_0 = 0$ and the last is 1.

  `boundaries` increase strictly inside (0, 1), two fewer than `values`, otherwise `BadInput`.

  >>> piecewise_linear([0.0, 1.0, 0.5], [0.5])(jnp.array([0.25, 0.5, 0.75])).tolist()
  [0.5, 1.0, 0.75]
  """
  return piecewise([linear(a, b) for a, b in itertools.pairwise(values)], boundaries)


def piecewise(schedules: Sequence[Schedule], boundaries: Sequence[float]) -> Schedule:
  r"""Schedules one after the other, each over its own [0, 1].

  $f(u) = f_i((u - b_i) / (b_{i+1} - b_i))$ for $b_i \le u < b_{i+1}$

  Here $b_0 = 0$, and the last piece ends at 1. `boundaries` increase strictly
  inside (0, 1), one fewer than `schedules`, otherwise `BadInput`.

  >>> up_down = piecewise([linear(0.0, 1.0), linear(1.0, 0.5)], [0.25])
  >>> up_down(jnp.array([0.0, 0.125, 0.25, 1.0])).tolist()
  [0.0, 0.5, 1.0, 0.5]
  """
  if not schedules or len(boundaries) != len(schedules) - 1:
    raise BadInput(
      f"a schedule of {len(schedules)} pieces needs one boundary fewer, got {len(boundaries)}"
    )
  # In float32 as `u` is, so that the last piece ends at exactly 1.
  edges = np.array([0.0, *boundaries, 1.0], np.float32)
  if not (np.diff(edges) > 0).all():
    raise BadInput(f"boundaries must increase strictly inside (0, 1), got {list(boundaries)}")

  def value(u: Real[ArrayLike, "*b"]) -> Float[Array, "*b"]:
    u = clamp(u)
    result = u  # each is in one of the pieces; no NaN, at which a debugged run would stop
    for schedule, low, high in zip(schedules, edges, edges[1:], strict=False):
      here = (low <= u) & ((u < high) | (high == 1))
      # Elsewhere any harmless place will do: an infinite slope there would turn gradients to NaN.
      inside = jnp.where(here, fraction(u - low, high - low), 0.5)
      result = jnp.where(here, schedule(inside), result)
    return result

  return value


def during(schedule: Schedule, begin: float, stop: float) -> Schedule:
  r"""The schedule over a part of [0, 1], at rest before and after: $f((u - b) / (s - b))$, clamped.

  `0 <= begin < stop <= 1`, otherwise `BadInput`.

  Args:
    schedule: stretched over the part.
    begin: where the part begins, in [0, 1).
    stop: where it ends, in (begin, 1].

  >>> during(linear(0.0, 1.0), 0.25, 0.75)(jnp.array([0.0, 0.25, 0.5, 1.0])).tolist()
  [0.0, 0.0, 0.5, 1.0]
  """
  if not 0 <= begin < stop <= 1:
    raise BadInput(f"during: 0 <= begin < stop <= 1 is needed, got {begin} and {stop}")
  low, high = np.float32(begin), np.float32(stop)
  return lambda u: schedule(fraction(clamp(u) - low, high - low))


def warmup(schedule: Schedule, fraction: float) -> Schedule:
  r"""A line from 0 to `schedule(0)` over the first `fraction`, then `schedule` over the rest.

  $f(u) = g(0)\,u / w$ for $u < w$, else $g((u - w) / (1 - w))$. `fraction` lies in [0, 1),
  otherwise `BadInput`; 0 gives back `schedule`.

  >>> warmup(cosine(2.0, 0.0), 0.5)(jnp.array([0.0, 0.25, 0.5, 1.0])).tolist()
  [0.0, 1.0, 2.0, 0.0]
  """
  if not 0 <= fraction < 1:
    raise BadInput(f"warmup: fraction must lie in [0, 1), got {fraction}")
  if fraction == 0:
    return schedule
  return piecewise([linear(0.0, float(schedule(0.0))), schedule], [fraction])


def _between(
  start: float, end: float, weight: Float[Array, "*b"], rest: Float[Array, "*b"]
) -> Float[Array, "*b"]:
  """`start + (end - start) · weight`, measured from the nearer end so that both are met exactly."""
  low, high = np.float32(start), np.float32(end)
  return jnp.where(weight < 0.5, low + (high - low) * weight, high - (high - low) * rest)
