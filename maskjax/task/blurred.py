"""Hiding the detail of a whole field: what stands at positions is cut from it after a blur."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import hide
from maskjax.over import Over
from maskjax.record import Record
from maskjax.task.whole import at_positions, to_field


def blurred(
  x: Float[Array, "b n d"],
  hidden: Bool[Array, "b n"],
  over: Over,
  record: Record,
  *,
  sigma: float,
) -> Float[Array, "b n d"]:
  r"""Degrades: what is hidden is cut from the field after a Gaussian blur, pixel by pixel.

  `hide.blur` with pixels as positions: patches are blurred across their borders too.

  Args:
    x: at every position.
    hidden: which positions show the blurred field; the others stay sharp.
    over: what a position is.
    record: of the data.
    sigma: deviation of the Gaussian in pixels (cells of the field), above 0.

  Returns:
    `x`, with what is hidden blurred.

  Raises:
    BadInput: a sigma that is not positive.

  Source: Kang et al. 2023 (Deblurring MAE), section 2.2.

  >>> from maskjax.over import patches
  >>> record = Record("image", (1, 3, 1), {})
  >>> over = patches(record=record, patch=(1, 3))
  >>> x = jnp.array([[[0.0, 1.0, 0.0]]])
  >>> soft = blurred(x, jnp.array([[True]]), over, record, sigma=100.0)
  >>> [round(float(y), 2) for y in soft.ravel()]
  [0.33, 0.33, 0.33]
  """
  field = to_field(x, over)
  size, *space, channels = field.shape
  cells = field.reshape(size, -1, channels)
  every = jnp.ones(cells.shape[:-1], bool)
  soft = hide.blur(cells, every, grid=tuple(space), sigma=sigma).reshape(field.shape)
  return hide.fill(x, hidden, at_positions(soft, over, record))
