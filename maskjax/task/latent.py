"""Values of latent prediction: target blocks, what a network says of them, and their noise."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, Num

from maskjax.hide import drop
from maskjax.keys import keys as keys_of
from maskjax.recover import Target


class Places(NamedTuple):
  """The positions of several views: `index` `[b v k]`; padding has `valid` False."""

  index: Int[Array, "b v k"]  # type: ignore[assignment]
  valid: Bool[Array, "b v k"]


def places(asked: Bool[Array, "v b n"], *, count: int | None = None) -> Places:
  """Where each view asks, in order; of more than `count` positions the later ones are left out.

  Args:
    asked: what each view asks.
    count: positions of each view, those that are missing padded; all n unless said.

  >>> places(jnp.array([[[False, True, True]]]), count=2).index.tolist()
  [[[1, 2]]]
  """
  views = jnp.moveaxis(asked, 0, -2)
  count = asked.shape[-1] if count is None else count
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
