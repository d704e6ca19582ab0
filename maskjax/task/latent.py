"""Values of latent prediction: target blocks, what is predicted of them, and what that costs."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, Num

from maskjax import reduce
from maskjax.errors import BadInput
from maskjax.hide import drop
from maskjax.keys import keys as keys_of
from maskjax.recover import Target
from maskjax.task.pictures import shown


class Places(NamedTuple):
  """The positions of several views: `index` `[b v k]`; padding has `valid` False."""

  index: Int[Array, "b v k"]  # type: ignore[assignment]
  valid: Bool[Array, "b v k"]


def places(asked: Bool[Array, "*v b n"], *, count: int | None = None) -> Places:
  """Where each view asks, in order; of more than `count` positions the later ones are left out.

  Args:
    asked: what each view asks; a mask without an axis of views is one view.
    count: positions of each view, those that are missing padded; all n unless said.

  Raises:
    BadInput: a count that is not between 1 and n.

  >>> places(jnp.array([[[False, True, True]]]), count=2).index.tolist()
  [[[1, 2]]]
  """
  n = asked.shape[-1]
  count = n if count is None else count
  if not 0 < count <= n:
    raise BadInput(f"of {n} positions a view asks at least one, got count={count}")
  views = _by_example(asked)
  # Nothing but where they stand.
  found = drop(jnp.zeros((*views.shape, 0)), ~views, keep=count)
  return Places(found.index, found.valid)


def at(x: Num[Array, "b n d"], index: Int[Array, "b v k"]) -> Num[Array, "b v k d"]:
  """What stands at the positions of each view.

  >>> at(jnp.array([[[5.0], [6.0]]]), jnp.array([[[1]]])).tolist()
  [[[[6.0]]]]
  """
  return jnp.take_along_axis(x[..., None, :, :], index[..., None], axis=-2)


def view_keys(keys: Key[Array, "b"], index: Int[Array, "b v k"]) -> Key[Array, "b v"]:
  """A key for each view of each example.

  >>> view_keys(keys_of(jax.random.key(0), 2), jnp.zeros((2, 3, 1), int)).shape
  (2, 3)
  """
  return jax.vmap(lambda key: keys_of(key, index.shape[-2]))(keys)


def encode(
  x: Float[Array, "b n p"], *, target: Callable[[], Target] | functools.partial[Target]
) -> Float[Array, "b n p"]:
  """What is asked back, made from x.

  Args:
    x: patches, or tokens of a network.
    target: makes the `Target`, as `recover.pixels` and `recover.latents`.

  >>> from maskjax.recover import latents
  >>> encode(jnp.array([[[1.0, 3.0]]]), target=latents).round(3).tolist()
  [[[-1.0, 1.0]]]
  """
  return target().encode(x)


def drawn(keys: Key[Array, "*b"], **numbers: Float[Array, "*b"]) -> Mapping[str, Array]:
  """Numbers that are drawn with each key, by name: levels of noise, ratios.

  Args:
    keys: one for each number.
    **numbers: schedules that move `by="example"`, as in any other section.

  >>> drawn(keys_of(jax.random.key(0), 2), alpha=jnp.array([0.5, 1.0]))["alpha"].tolist()
  [0.5, 1.0]
  """
  return numbers


def costs(
  graph: Callable[..., Any],
  predicted: Float[Array, "b v k d"],
  wanted: Float[Array, "b v k d"],
  blocks: Places,
  *,
  loss: str,
) -> Float[Array, "b v k"]:
  """A loss at each position of each view by itself, zero at padding.

  Args:
    graph: asks for the loss again, as it would be of other predictions.
    predicted: what the loss compares with what is `wanted`.
    wanted: at the positions of the blocks.
    blocks: where is asked.
    loss: the value that is the loss of all positions, "losses.NAME".
  """

  def one(p: Array, t: Array, valid: Array) -> Array:
    alone = blocks._replace(valid=valid[None])
    cost: Array = graph(loss, predicted=p[None], wanted=t[None], blocks=alone).sum
    return cost

  each: Callable[..., Array] = jax.vmap(jax.vmap(jax.vmap(one)))
  return each(predicted, wanted, blocks.valid)


def latent_views(
  image: Float[Array, "b *space c"],
  hidden: Bool[Array, "b n"],
  asked: Bool[Array, "*v b n"],
  grid: tuple[int, ...],
  blocks: Places,
  costs: Float[Array, "b v k"],
  **numbers: Array,
) -> Mapping[str, Array]:
  """What pictures of a latent prediction are made from.

  Args:
    image: that is predicted.
    hidden: cells of the grid that the encoder does not see.
    asked: cells that each view asks; a mask without an axis of views is one view.
    grid: cells along each axis.
    blocks: the positions that are asked.
    costs: of each of these positions.
    **numbers: what was drawn for each view, shown under the same names.

  Returns:
    "input", "seen" and "target 1", "target 2" … (NaN where hidden or not asked); over the grid
    "loss", the mean of the views that ask there, NaN where none does; "cost" `[b, v]`, the mean of
    each view; and the numbers.
  """
  views, n = _by_example(asked), hidden.shape[-1]
  # Costs at the positions that they are of, zero elsewhere, as they are at padding.
  there = jnp.einsum("bvk,bvkn->bvn", costs, jax.nn.one_hot(blocks.index, n))
  often = views.sum(axis=-2)
  loss = jnp.where(often > 0, there.sum(axis=-2) / jnp.maximum(often, 1), jnp.nan)
  targets = {f"target {i + 1}": shown(image, ~views[:, i], grid) for i in range(views.shape[1])}
  return {
    "input": image,
    "seen": shown(image, hidden, grid),
    **targets,
    "loss": loss.reshape(-1, *grid),
    "cost": reduce.mean(costs, blocks.valid, axis=-1),
    **numbers,
  }


def _by_example(asked: Bool[Array, "*v b n"]) -> Bool[Array, "b v n"]:
  return jnp.moveaxis(asked.reshape(-1, *asked.shape[-2:]), 0, 1)
