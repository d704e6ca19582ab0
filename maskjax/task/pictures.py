"""Values that pictures are made from: what the answer `views` is put together of."""

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from maskjax.hide import fill
from maskjax.over import Over
from maskjax.over.cut import patchify, unpatchify


def pictures(
  values: Float[Array, "b n p"],
  predicted_values: Float[Array, "b n p"],
  hidden: Bool[Array, "b n"],
  over: Over,
  allowed: Bool[Array, "b n"] | None = None,
) -> dict[str, Array]:
  """What a reconstruction is drawn from: "input", "seen", "prediction" and "pasted".

  Each of the shape of the field. "seen" is NaN where nothing is seen, "pasted" has the prediction
  there and the input elsewhere; what is missing is NaN in the input too.

  Args:
    values: at every position.
    predicted_values: what is predicted of them, in the same units.
    hidden: which of them are not seen.
    over: what a position is.
    allowed: which of them are there at all; None where all are.

  >>> from maskjax.over import patches
  >>> from maskjax.record import Record
  >>> over = patches(record=Record("image", (2, 1), {}), patch=(1,))
  >>> x, hidden = jnp.zeros((1, 2, 1)), jnp.array([[True, False]])
  >>> pictures(x, x + 5, hidden, over)["pasted"][0, :, 0].tolist()
  [5.0, 0.0]
  """
  absent = hidden if allowed is None else hidden | ~allowed
  shown = {
    "input": values if allowed is None else fill(values, ~allowed, jnp.nan),
    "seen": fill(values, absent, jnp.nan),
    "prediction": predicted_values,
    "pasted": jnp.where(absent[..., None], predicted_values, values),
  }
  return {name: over.back(x) for name, x in shown.items()}


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
  return replaced(image, jnp.full_like(image, jnp.nan), hidden, grid)


def replaced(
  image: Float[Array, "b *space c"],
  other: Float[Array, "b *space c"],
  hidden: Bool[Array, "b n"],
  grid: tuple[int, ...],
) -> Float[Array, "b *space c"]:
  """An image with another one in the cells of a grid that are hidden.

  Args:
    image: whose sides the grid divides.
    other: of the same shape.
    hidden: cells, row by row.
    grid: cells along each axis.

  Raises:
    BadInput: a grid that does not divide the image.

  >>> x, hidden = jnp.ones((1, 2, 1)), jnp.array([[True, False]])
  >>> replaced(x, 3 * x, hidden, (2,))[0, :, 0].tolist()
  [3.0, 1.0]
  """
  sides = [size // cells for size, cells in zip(image.shape[1:-1], grid, strict=True)]
  cut = fill(patchify(image, sides), hidden, patchify(other, sides))
  return unpatchify(cut, sides, grid, image.shape[-1])


def on_grid(
  x: Shaped[Array, "b n"], grid: tuple[int, ...], hidden: Bool[Array, "b n"] | None = None
) -> Shaped[Array, "b *grid"]:
  """What stands at positions along the axes of their grid: a mask of pixels as a picture.

  Args:
    x: at every position, row by row.
    grid: positions along each axis.
    hidden: where given, the map is NaN at the others; x is numbers then.

  >>> on_grid(jnp.array([[1.0, 2.0]]), (1, 2), jnp.array([[True, False]])).tolist()
  [[[1.0, nan]]]
  """
  kept = x if hidden is None else jnp.where(hidden, x, jnp.nan)
  return kept.reshape(len(x), *grid)


def over_field(x: Shaped[Array, "b n"], over: Over) -> Shaped[Array, "b *space"]:
  """What stands at each position as a map of the size of the field: the same in all of a patch.

  Args:
    x: a number or a flag at each position.
    over: what a position is; one with a `cell`.

  >>> from maskjax.over import patches
  >>> from maskjax.record import Record
  >>> over = patches(record=Record("image", (4, 3), {}), patch=(2,))
  >>> over_field(jnp.array([[1.0, 2.0]]), over).tolist()
  [[1.0, 1.0, 2.0, 2.0]]
  """
  wide = jnp.broadcast_to(x[..., None], (*x.shape, math.prod(over.cell)))
  return unpatchify(wide, over.cell, over.grid, 1)[..., 0]


def relative_probability(log_prob: Float[Array, "b n"]) -> Float[Array, "b n"]:
  r"""How probable each position is beside the most probable one, $p_i / \max_j p_j$.

  >>> relative_probability(jnp.log(jnp.array([[0.25, 0.5]]))).tolist()
  [[0.5, 1.0]]
  """
  return jnp.exp(log_prob - log_prob.max(axis=-1, keepdims=True))


def argmax(
  logits: Float[Array, "b n v"], values: Int[Array, "b n"], hidden: Bool[Array, "b n"]
) -> Int[Array, "b n"]:
  """The most probable id at each hidden position, the given one at the others.

  >>> ids, hidden = jnp.array([[5, 6]]), jnp.array([[True, False]])
  >>> argmax(jnp.array([[[0.0, 1.0], [0.0, 1.0]]]), ids, hidden).tolist()
  [[1, 6]]
  """
  return jnp.where(hidden, jnp.argmax(logits, axis=-1).astype(values.dtype), values)


def together(**named: Any) -> dict[str, Any]:
  """Several values as one, by the names that `of` gives them.

  >>> together(input=1)
  {'input': 1}
  """
  return named


def extended(named: Mapping[str, Any], **more: Any) -> dict[str, Any]:
  """A value of named parts with more of them, by the names that `of` gives these.

  >>> extended({"input": 1}, chance=2)
  {'input': 1, 'chance': 2}
  """
  return {**named, **more}
