"""Masks that are chosen once, before the first step, with a number of weights for each layer."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import bind
from maskjax.keys import stream
from maskjax.select.each import each
from maskjax.weights.ratios import Densities, uniform
from maskjax.weights.score import random


def fixed_masks(
  leaves: Mapping[str, Float[Array, "..."]],
  *,
  density: float,
  ratios: Callable[..., Densities] = uniform,
  score: Callable[..., Any] = random,
  seed: int = 0,
) -> dict[str, Bool[Array, "..."]]:
  """Hides the highest scores of each leaf, so many that it keeps what a rule gives it.

  Args:
    leaves: the weights, by name.
    density: the share of all of them that is kept.
    ratios: how it is shared out, see `maskjax.weights.ratios`.
    score: of the weights, see `maskjax.weights.score`; it may name `params` and `key`.
    seed: of the keys, one a leaf.

  Returns:
    True where hidden, by the same names; the number kept of a leaf is rounded to the nearest.

  Raises:
    BadInput: a density that is none, a score that needs more.

  >>> hidden = fixed_masks({"a": jnp.ones((4, 4)), "b": jnp.ones((8, 8))}, density=0.5)
  >>> {name: int(mask.sum()) for name, mask in hidden.items()}
  {'a': 8, 'b': 32}
  """
  score = partial(score)
  bind.check(score, ("params", "key"), "fixed_masks")
  kept = ratios({name: leaf.shape for name, leaf in leaves.items()}, density=density)

  offers = lambda name, leaf: {"params": leaf, "key": stream(jax.random.key(seed), name)}
  scores = [bind.call(score, offers(name, leaf)) for name, leaf in leaves.items()]
  hides = [x.size - round(kept[name] * x.size) for name, x in leaves.items()]
  rooms = [jnp.full((1,) * x.ndim, n, jnp.int32) for x, n in zip(scores, hides, strict=True)]
  masks = each(scores, [jnp.ones_like(x, jnp.bool_) for x in scores], rooms, None)
  return dict(zip(leaves, masks, strict=True))
