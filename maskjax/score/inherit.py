"""Scores that positions take over from the unit they belong to."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def inherit(
  scores: Float[Array, "*b u"], unit: Int[Array, "*#b n"] | Int[np.ndarray, "*#b n"]
) -> Float[Array, "*b n"]:
  """Gives every position the score of its unit; -inf, hidden last, where it has none.

  It has none where `unit` is negative or not below u. (NaN would be hidden last too, but a debugged
  run stops at the first one.)

  >>> inherit(jnp.array([0.5, 0.25]), jnp.array([1, 1, 0, -1])).tolist()
  [0.25, 0.25, 0.5, -inf]
  """
  unit = jnp.asarray(unit)
  if unit.ndim == 1:
    taken = jnp.take(scores, unit, axis=-1, mode="fill", fill_value=-jnp.inf)
  else:
    index = jnp.broadcast_to(unit, (*scores.shape[:-1], unit.shape[-1]))
    taken = jnp.take_along_axis(scores, index, axis=-1, mode="fill", fill_value=-jnp.inf)
  return jnp.where(unit < 0, -jnp.inf, taken)
