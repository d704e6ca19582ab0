"""Teachers: networks that follow those that learn."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

__all__ = ["copies", "ema"]


def ema(
  teacher: PyTree, params: PyTree, *, momentum: float | Float[Array, ""]
) -> PyTree[Float[Array, "..."]]:
  r"""The exponential moving average after one more step: $m\,\bar\theta + (1 - m)\,\theta$.

  Of running statistics too, which then are those of the averaged network; numbers that are no
  floats, as counters, are the newest.

  >>> ema({"w": 1.0, "steps": 4}, {"w": 3.0, "steps": 5}, momentum=0.5)
  {'steps': 5, 'w': 2.0}

  Source: Tarvainen and Valpola 2017 (mean teacher), equation 2.
  """

  def one(t: Any, p: Any) -> Any:
    return (
      momentum * t + (1 - momentum) * p if jnp.issubdtype(jnp.result_type(p), jnp.inexact) else p
    )

  return jax.tree.map(one, teacher, params)


@partial(jax.jit, static_argnums=1)
def copies(tree: PyTree, names: tuple[str, ...]) -> dict[str, PyTree]:
  """Copies of a tree by name, with memory of their own: all in one program.

  >>> copies({"w": jnp.ones(2)}, ("teacher",))["teacher"]["w"].tolist()
  [1.0, 1.0]
  """
  return {name: jax.tree.map(jnp.copy, tree) for name in names}
