"""Times of a noising process, drawn for the examples of a batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key


def antithetic(
  key: Key[Array, ""], position: Int[Array, "*b"], batch_size: int
) -> Float[Array, "*b"]:
  r"""Times that lie evenly in a batch: $t_i = u + i / B$ modulo 1, one $u \sim U[0, 1)$ a step.

  Each is uniform by itself, and the mean over a batch has less noise than of times drawn apart.

  Args:
    key: of the step, one for all examples.
    position: i, of each example in the global batch.
    batch_size: B, of the global batch.

  Returns:
    A time in [0, 1) for each example.

  Source: Kingma et al. 2021, "Variational Diffusion Models", appendix I.1.

  >>> t = antithetic(jax.random.key(0), jnp.arange(4), 4)
  >>> bool(jnp.allclose(jnp.diff(jnp.sort(t)), 0.25))
  True
  """
  return jnp.mod(jax.random.uniform(key) + position / batch_size, 1.0)
