"""Dense layers; on one CPU their products are of matrices, whatever axes the rows lie along."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from maskjax.model import flash


def product(
  x: Float[Array, "*b d"], kernel: Float[Array, "d e"], axes: Any, **given: Any
) -> Float[Array, "*b e"]:
  """`jax.lax.dot_general` of the last axis and the first, the other axes of `x` joined on one CPU.

  XLA's gradient of a kernel contracts all those axes; on CPUs it lays its operands out anew for it
  unless there is one axis, and a layer of three axes takes a third longer forward and backward.
  Where a mesh cuts the axes over devices, and on accelerators, they stay as they are.

  Args:
    x: rows.
    kernel: the matrix to multiply them with.
    axes: `dimension_numbers` that say so, as `flax.linen.Dense` gives them.
    **given: other arguments of `jax.lax.dot_general`.

  Returns:
    The products.

  >>> import jax.numpy as jnp
  >>> product(jnp.ones((2, 3, 4)), jnp.ones((4, 5)), (((2,), (0,)), ((), ()))).shape
  (2, 3, 5)
  """
  if x.ndim < 3 or jax.sharding.get_abstract_mesh().size > 1 or flash.placed() != "cpu":
    return jax.lax.dot_general(x, kernel, axes, **given)
  rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
  made = jax.lax.dot_general(rows, kernel, (((1,), (0,)), ((), ())), **given)
  return made.reshape(*x.shape[:-1], kernel.shape[-1])


Dense = functools.partial(nn.Dense, dot_general=product)
