"""Schedules of mask ratios, temperatures, sparsity and learning rates: functions of `u in [0, 1]`.

A factory binds the numbers and gives back a `Schedule`, `u -> value`, elementwise and in float32.
`u` outside [0, 1] is clamped; the values at 0 and 1 are exactly the given ones, and the rest lie
between them. `at_step` and `at_epoch` turn a schedule into a function of the training step.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from maskjax.errors import BadInput
from maskjax.quantiles import beta, clamp, truncated_normal

__all__ = [
  "at_epoch",
  "at_step",
  "beta",
  "constant",
  "cosine",
  "during",
  "exponential",
  "linear",
  "piecewise",
  "polynomial",
  "power",
  "quarter_cosine",
  "quarter_sine",
  "step",
  "truncated_normal",
  "warmup",
]

Schedule = Callable[[Real[ArrayLike, "*b"]], Float[Array, "*b"]]
Step = int | np.integer | Int[Array, "*b"] | Int[np.ndarray, "*b"]
LARGEST_STEP = 2**31 - 1  # steps are int32


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


def cosine(start: float, end: float) -> Schedule:
  r"""Half a cosine, flat at both ends: $f(u) = s + (e - s)\,(1 - \cos \pi u) / 2$.

  >>> cosine(1.0, 0.0)(jnp.array([0.0, 0.5, 1.0])).round(4).tolist()
  [1.0, 0.5, 0.0]

  Loshchilov and Hutter, "SGDR", 2017, equation 5, without restarts.
  """
  # sin²(πu/2) is the same weight without the cancellation of 1 - cos near its zero.
  weight = lambda u: jnp.square(jnp.sin(np.float32(np.pi / 2) * u))

  def value(u: Real[ArrayLike, "*b"]) -> Float[Array, "*b"]:
    u = clamp(u)
    return _between(start, end, weight(u), weight(1 - u))

  return value


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

  >>> power(1.0, 0.0, power=2.0)(0.5).item()
  0.75

  Shi et al., "MD4", 2024, table 4: its polynomial schedule, from 1 to 0.
  """
  mirrored = polynomial(end, start, power)
  return lambda u: mirrored(1 - clamp(u))


def polynomial(start: float, end: float, power: float = 3.0) -> Schedule:
  r"""Fast first, flat at the end: $f(u) = e + (s - e)\,(1 - u)^p$.

  `power` is positive, otherwise `BadInput`; below 1 there is no slope at `u = 1`.

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
    result = jnp.full_like(u, jnp.nan)
    for schedule, low, high in zip(schedules, edges, edges[1:], strict=False):
      here = (low <= u) & ((u < high) | (high == 1))
      # Elsewhere any harmless place will do: an infinite slope there would turn gradients to NaN.
      inside = jnp.where(here, _fraction(u - low, high - low), 0.5)
      result = jnp.where(here, schedule(inside), result)
    return result

  return value


def during(schedule: Schedule, begin: float, stop: float) -> Schedule:
  r"""The schedule over a part of [0, 1], at rest before and after: $f((u - b) / (s - b))$, clamped.

  `0 <= begin < stop <= 1`, otherwise `BadInput`.

  >>> during(linear(0.0, 1.0), 0.25, 0.75)(jnp.array([0.0, 0.25, 0.5, 1.0])).tolist()
  [0.0, 0.0, 0.5, 1.0]
  """
  if not 0 <= begin < stop <= 1:
    raise BadInput(f"during: 0 <= begin < stop <= 1 is needed, got {begin} and {stop}")
  low, high = np.float32(begin), np.float32(stop)
  return lambda u: schedule(_fraction(clamp(u) - low, high - low))


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


def at_step(schedule: Schedule, total_steps: int) -> Callable[[Step], Float[Array, "*b"]]:
  r"""The schedule as a function of the step: $f(\min(t, T) / T)$.

  Step 0 has $u = 0$ and step `total_steps`, the first after the run, $u = 1$.
  Clamped as an integer and divided once: $u$ is $t / T$ to float32 at any step up to 2³¹.

  >>> at_step(linear(0.0, 1.0), 1000)(jnp.array([0, 250, 1000, 2000])).tolist()
  [0.0, 0.25, 1.0, 1.0]
  """
  _check_duration("total_steps", total_steps)
  return lambda step: schedule(_share(step, total_steps))


def at_epoch(
  schedule: Schedule, epochs: int, steps_per_epoch: int
) -> Callable[[Step], Float[Array, "*b"]]:
  r"""The schedule as a function of the step, moved by whole epochs: $f(\lfloor t / n \rfloor / E)$.

  The first epoch has $u = 0$, the last $(E - 1) / E$; `end` is reached after the last epoch.

  >>> at_epoch(linear(0.0, 1.0), epochs=4, steps_per_epoch=10)(jnp.array([9, 10, 39, 40])).tolist()
  [0.0, 0.25, 0.75, 1.0]
  """
  _check_duration("epochs", epochs)
  _check_duration("steps_per_epoch", steps_per_epoch)
  return lambda step: schedule(_share(step // steps_per_epoch, epochs))


def _between(
  start: float, end: float, weight: Float[Array, "*b"], rest: Float[Array, "*b"]
) -> Float[Array, "*b"]:
  """`start + (end - start) · weight`, measured from the nearer end so that both are met exactly."""
  low, high = np.float32(start), np.float32(end)
  return jnp.where(weight < 0.5, low + (high - low) * weight, high - (high - low) * rest)


def _share(step: Step, total: int) -> Float[Array, "*b"]:
  clip = jnp.clip if isinstance(step, jax.Array) else np.clip
  return _fraction(jnp.asarray(clip(step, 0, total)), total)


def _fraction(part: Real[Array, "*b"], whole: int | float | np.floating) -> Float[Array, "*b"]:
  """`part / whole`, exactly 1 at its end: XLA may multiply by a reciprocal, and n · (1 / n) < 1."""
  divide = lambda x: jnp.asarray(x, jnp.float32) / np.float32(whole)
  return jnp.where(part < 0.5 * whole, divide(part), 1 - divide(whole - part))


def _check_duration(name: str, value: int) -> None:
  if not 1 <= value <= LARGEST_STEP:
    raise BadInput(f"{name} must lie in 1 … {LARGEST_STEP}, got {value}")
