"""Values that pictures are made from: what the answer `views` is put together of."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax.hide import fill
from maskjax.over.cut import patchify, unpatchify


def shown(
  image: Float[Array, "b *space c"], hidden: Bool[Array, "b n"], grid: tuple[int, ...]
) -> Float[Array, "b *space c"]:
  """An image with NaN in the cells of a grid that are hidden.

  Args:
    image: whose sides the grid divides.
    hidden: cells, row by row.
    grid: cells along each axis.

  Raises:
    BadInput: a grid that does not divide the image.

  >>> shown(jnp.ones((1, 2, 1)), jnp.array([[True, False]]), (2,))[0, :, 0].tolist()
  [nan, 1.0]
  """
  sides = [size // cells for size, cells in zip(image.shape[1:-1], grid, strict=True)]
  cut = fill(patchify(image, sides), hidden, jnp.nan)
  return unpatchify(cut, sides, grid, image.shape[-1])


def likeliest(
  logits: Float[Array, "b n v"], values: Int[Array, "b n"], hidden: Bool[Array, "b n"]
) -> Int[Array, "b n"]:
  """The most probable id at each hidden position, the given one at the others.

  >>> ids, hidden = jnp.array([[5, 6]]), jnp.array([[True, False]])
  >>> likeliest(jnp.array([[[0.0, 1.0], [0.0, 1.0]]]), ids, hidden).tolist()
  [[1, 6]]
  """
  return jnp.where(hidden, jnp.argmax(logits, axis=-1).astype(values.dtype), values)


def together(**named: Any) -> dict[str, Any]:
  """Several values as one, by the names that `of` gives them.

  >>> together(input=1)
  {'input': 1}
  """
  return named
