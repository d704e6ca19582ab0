"""Frozen networks get examples normalised as in their own training, whatever the run's data are.

A run keeps the mean and the deviation of each channel that a frozen network was trained with, in
the collection "normalisation", since their record is in another workdir. Deviations of zero stand
for those of the run's data: published weights, which have no record, are taken to be for these.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from maskjax.record import Record

NORMALISATION = "normalisation"

Own = Mapping[str, Float[Array, "c"]]


def unknown_of(record: Record) -> dict[str, Any]:
  """What is kept of a network of which nothing is known."""
  return {name: jnp.zeros(len(record.mean)) for name in ("mean", "std", "scale", "shift")}


def known_of(record: Record) -> dict[str, Any]:
  """What is kept of a network that was trained on data of this record.

  `scale` and `shift` make a stored number a normalised one, as `data.augment.normalise` does.

  >>> known_of(Record("image", (2, 2, 1), {}, mean=(0.5,), std=(0.25,)))["shift"]
  array([2.], dtype=float32)
  """
  mean, std = np.asarray(record.mean, np.float64), np.asarray(record.std, np.float64)
  found = {"mean": mean, "std": std, "scale": 1 / (record.peak * std), "shift": mean / std}
  return {name: value.astype(np.float32) for name, value in found.items()}


def declared(module: Any) -> bool:
  """Whether methods of a module say which of their arguments and results are examples."""
  return any(hasattr(getattr(type(module), name), "examples") for name in dir(type(module)))


def to_own(x: Float[Array, "*b c"], record: Record, own: Own) -> Float[Array, "*b c"]:
  """Examples normalised by the run's record, normalised by a network's own mean and deviation.

  What was stored comes back exactly: pixels that are whole numbers but for rounding are these, and
  are normalised by the arithmetic of `data.augment.normalise`.

  Args:
    x: examples, channels last.
    record: of the run's data.
    own: "mean" and "std" of each channel, zero where they are not known.
  """
  run = known_of(record)
  stored = (x + run["shift"]) / run["scale"]
  whole = jnp.round(stored)
  # Gradients go through as if nothing was rounded.
  snapped = stored + jax.lax.stop_gradient(whole - stored)
  if record.peak > 1:
    stored = jnp.where(jnp.abs(whole - stored) < 1e-3 * record.peak / 255, snapped, stored)
  # Rounded in between, as where data are prepared.
  scaled = jax.lax.optimization_barrier(stored * own["scale"])
  return jnp.where(_same(record, own), x, scaled - own["shift"])


def to_run(x: Float[Array, "*b c"], record: Record, own: Own) -> Float[Array, "*b c"]:
  """What a network makes, normalised by its own mean and deviation, by the run's record again."""
  run = known_of(record)
  moved = (x * own["std"] + own["mean"] - run["mean"]) / run["std"]
  return jnp.where(_same(record, own), x, moved)


def _same(record: Record, own: Own) -> Any:
  run = known_of(record)
  equal = (own["mean"] == run["mean"]) & (own["std"] == run["std"])
  return equal.all() | (own["std"] == 0).any()
