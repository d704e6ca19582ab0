"""The range of pixels: images as they are stored lie in [0, 1], those of a run are normalised."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from maskjax.errors import BadInput
from maskjax.over import Over
from maskjax.record import Record
from maskjax.task.whole import at_positions


def black(over: Over, record: Record) -> Float[Array, "1 n d"]:
  """The values of a black image: what hiders put where pixels, not normalised ones, become zero.

  Args:
    over: what a position is.
    record: of the data.

  Raises:
    BadInput: data without a mean.
  """
  low, _ = _range(record)
  return at_positions(jnp.broadcast_to(low, (1, *over.shape)), over, record)


def clipped(x: Float[Array, "b *space c"], record: Record) -> Float[Array, "b *space c"]:
  r"""A normalised image whose pixels are cut to [0, 1], $-\mu / \sigma \le x \le (1-\mu) / \sigma$.

  Args:
    x: normalised by the record.
    record: of the data.

  Raises:
    BadInput: data without a mean.

  >>> record = Record("image", (1, 2, 1), {}, mean=(0.5,), std=(0.25,))
  >>> clipped(jnp.array([[[[-9.0], [1.0]]]]), record)[0, 0, :, 0].tolist()
  [-2.0, 1.0]
  """
  return jnp.clip(x, *_range(record))


def _range(record: Record) -> tuple[Float[Array, "c"], Float[Array, "c"]]:
  if not record.mean:
    raise BadInput(f"data of kind {record.kind} have no mean, so no range of pixels")
  mean, std = jnp.asarray(record.mean), jnp.asarray(record.std)
  return -mean / std, (1 - mean) / std
