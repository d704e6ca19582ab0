"""Teachers: parameters that follow those of the network."""

import jax
from jaxtyping import Array, Float, PyTree

__all__ = ["ema"]


def ema(
  teacher: PyTree, params: PyTree, *, momentum: float | Float[Array, ""]
) -> PyTree[Float[Array, "..."]]:
  r"""The exponential moving average after one more step: $m\,\bar\theta + (1 - m)\,\theta$.

  >>> ema({"w": 1.0}, {"w": 3.0}, momentum=0.5)["w"]
  2.0

  Source: Tarvainen and Valpola 2017 (mean teacher), equation 2.
  """
  return jax.tree.map(lambda t, p: momentum * t + (1 - momentum) * p, teacher, params)
