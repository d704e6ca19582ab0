"""Values of whole examples: fields from positions and back, and networks that take a field."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from maskjax.hide import fill
from maskjax.over import Over
from maskjax.record import Record
from maskjax.task.networks import Network


def to_field(x: Shaped[Array, "b n d"], over: Over) -> Array:
  """What stands at positions as a field of the data again: patches as an image.

  Args:
    x: at every position.
    over: what a position is.

  >>> from maskjax.over import patches
  >>> from maskjax.record import Record
  >>> over = patches(record=Record("image", (4, 6, 1), {}), patch=(2, 3))
  >>> to_field(jnp.zeros((1, 4, 6)), over).shape
  (1, 4, 6, 1)
  """
  made: Array = over.back(x)
  return made


def at_positions(
  x: Shaped[Array, "b *space c"], over: Over, record: Record
) -> Shaped[Array, "b n d"]:
  """A field of the data as what stands at positions: an image that a network made as patches.

  Args:
    x: of the shape of the field.
    over: what a position is, of the field that is called as the kind of data.
    record: of the data.

  >>> from maskjax.over import patches
  >>> from maskjax.record import Record
  >>> record = Record("image", (4, 6, 1), {})
  >>> at_positions(jnp.zeros((1, 4, 6, 1)), patches(record=record, patch=(2, 3)), record).shape
  (1, 4, 6)
  """
  found: Array = over.read({record.kind: x}).values
  return found


def everywhere(x: Shaped[Array, "*b d"]) -> Bool[Array, "*b"]:
  """A mask that is True at every position of a value.

  >>> everywhere(jnp.zeros((1, 2, 3))).tolist()
  [[True, True]]
  """
  return jnp.ones(x.shape[:-1], jnp.bool_)


def stop_gradient(x: Any) -> Any:
  """A value through which no gradient flows, $\\mathrm{sg}(x)$.

  >>> jax.grad(lambda x: x * stop_gradient(x))(3.0).item()
  3.0
  """
  return jax.lax.stop_gradient(x)


def sampled(posterior: Any, keys: Key[Array, "b"]) -> Array:
  r"""A draw from a distribution over latents, one key for each example.

  $z \sim \mathcal{N}(\mu, \sigma^2)$ of `maskjax.model.autoencoder.Posterior`.

  Args:
    posterior: has `sample(keys)`.
    keys: one for each example.
  """
  drawn: Array = posterior.sample(keys)
  return drawn


def valid_examples(batch: Mapping[str, Any]) -> Bool[Array, "b"]:
  """Which examples count: all, or those that the batch calls `valid`.

  >>> valid_examples({"label": jnp.array([3, 4])}).tolist()
  [True, True]
  """
  return batch.get("valid", jnp.ones(batch["label"].shape, bool))


def logits(
  network: Network, image: Float[Array, "b h w c"], batch: Mapping[str, Any], train: bool
) -> Float[Array, "b classes"]:
  """What a classifier says of images, which may have been changed since they were in the batch.

  Examples that the batch does not call `valid` are zero; where statistics of the batch are used,
  they are hidden from these too.

  Args:
    network: called as `network(image, hidden, train=…)`; one whose examples are normalised together
      says so by `coupled`, and takes a mask of pixels.
    image: what the network is shown.
    batch: says which examples are `valid`, if some are not.
    train: whether statistics are those of the batch.
  """
  hidden = None
  if "valid" in batch:
    padding = jnp.broadcast_to(~batch["valid"][:, None, None], image.shape[:-1])
    image = fill(image, padding, 0.0)
    hidden = padding if getattr(network.module, "coupled", False) else None
  said: Float[Array, "b classes"] = network(image, hidden, train=train)
  return said


def size_of(x: Shaped[Array, "..."], *, axis: int = -1) -> int:
  """The length of an axis of a value, as a plain int.

  >>> size_of(jnp.zeros((2, 5)))
  5
  """
  return x.shape[axis]


def moved_axis(x: Shaped[Array, "..."], *, source: int, to: int) -> Shaped[Array, "..."]:
  """A value with one of its axes at another place.

  >>> moved_axis(jnp.zeros((2, 3, 5)), source=1, to=-1).shape
  (2, 5, 3)
  """
  return jnp.moveaxis(x, source, to)


def in_order(x: Shaped[Array, "b k *d"], order: Int[Array, "b j"]) -> Shaped[Array, "b j *d"]:
  r"""The entries of each example in an order of its own, $y_{ij} = x_{i\,o_{ij}}$.

  Args:
    x: k entries of every example.
    order: which of them come first, second, …

  >>> in_order(jnp.array([[5, 6], [7, 8]]), jnp.array([[1, 0], [0, 0]])).tolist()
  [[6, 5], [7, 7]]
  """
  return jnp.take_along_axis(x, order.reshape(*order.shape, *[1] * (x.ndim - 2)), axis=1)
