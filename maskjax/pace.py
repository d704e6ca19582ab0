"""The pace of schedules: from the step of a run to `u in [0, 1]`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from maskjax.errors import BadInput

Schedule = Callable[[Real[ArrayLike, "*b"]], Float[Array, "*b"]]
Step = int | np.integer | Int[Array, "*b"] | Int[np.ndarray, "*b"]
LARGEST_STEP = 2**31 - 1  # steps are int32


def at_step(schedule: Schedule, total_steps: int) -> Callable[[Step], Float[Array, "*b"]]:
  r"""The schedule as a function of the step: $f(\min(t, T) / T)$.

  Step 0 has $u = 0$ and step `total_steps`, the first after the run, $u = 1$.
  Clamped as an integer and divided once: $u$ is $t / T$ to float32 at any step up to 2³¹.

  >>> from maskjax.schedule import linear
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

  Args:
    schedule: of u in [0, 1].
    epochs: E, of the whole run.
    steps_per_epoch: n.

  Returns:
    A function of the step, from 0.

  >>> from maskjax.schedule import linear
  >>> at_epoch(linear(0.0, 1.0), epochs=4, steps_per_epoch=10)(jnp.array([9, 10, 39, 40])).tolist()
  [0.0, 0.25, 0.75, 1.0]
  """
  _check_duration("epochs", epochs)
  _check_duration("steps_per_epoch", steps_per_epoch)
  return lambda step: schedule(_share(step // steps_per_epoch, epochs))


def _share(step: Step, total: int) -> Float[Array, "*b"]:
  clip = jnp.clip if isinstance(step, jax.Array) else np.clip
  return fraction(jnp.asarray(clip(step, 0, total)), total)


def fraction(part: Real[Array, "*b"], whole: int | float | np.floating) -> Float[Array, "*b"]:
  """`part / whole`, exactly 1 at its end: XLA may multiply by a reciprocal, and n · (1 / n) < 1."""
  divide = lambda x: jnp.asarray(x, jnp.float32) / np.float32(whole)
  return jnp.where(part < 0.5 * whole, divide(part), 1 - divide(whole - part))


def clamp(u: Real[ArrayLike, "*b"]) -> Float[Array, "*b"]:
  """`u` in float32, between 0 and 1.

  >>> clamp(1.5).item()
  1.0
  """
  # Not jnp.clip, which halves the slope at 0 and 1.
  u = jnp.asarray(u, jnp.float32)
  return jnp.where(u < 0, 0.0, jnp.where(u > 1, 1.0, u))


def _check_duration(name: str, value: int) -> None:
  if not 1 <= value <= LARGEST_STEP:
    raise BadInput(f"{name} must lie in 1 … {LARGEST_STEP}, got {value}")
