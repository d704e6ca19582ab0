"""Hiding by degrees: content is multiplied by a gate, 1 = kept."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def gate(x: Float[Array, "*b n d"], gate: Float[Array, "*b n"]) -> Float[Array, "*b n d"]:
  """Degrades, and removes where the gate is 0: `x · gate`, where 0 times anything, NaN too, is 0.

  No gradient reaches content behind a closed gate. The slope of a gate is the content behind it,
  of a closed one too, so that a learned gate can open again; infinite or NaN content counts 0
  there.

  >>> gate(jnp.array([[2.], [jnp.nan]]), jnp.array([0.5, 0.])).tolist()
  [[1.0], [0.0]]
  """
  return _gated(x, gate[..., None]).astype(x.dtype)


# A rule of its own: by `where` alone a closed gate has no slope, by the product 0 · NaN is NaN.
@jax.custom_jvp
def _gated(x, gate):  # type: ignore[no-untyped-def]
  return jnp.where(gate == 0, 0, x * gate)


@_gated.defjvp
def _slopes(primals, tangents):  # type: ignore[no-untyped-def]
  (x, gate), (dx, dgate) = primals, tangents
  closed = gate == 0
  behind = jnp.where(closed & ~jnp.isfinite(x), 0, x)
  return _gated(x, gate), jnp.where(closed, 0, dx * gate) + behind * dgate
