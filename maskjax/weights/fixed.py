"""Masks that are chosen once, before the first step: in each layer by its share, or in all."""

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
from maskjax.weights.score import magnitude, random


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
  kept = ratios({name: leaf.shape for name, leaf in leaves.items()}, density=density)
  scores = _scores(leaves, score, seed, "fixed_masks")
  hides = [x.size - round(kept[name] * x.size) for name, x in leaves.items()]
  rooms = [jnp.full((1,) * x.ndim, n, jnp.int32) for x, n in zip(scores, hides, strict=True)]
  masks = each(scores, [jnp.ones_like(x, jnp.bool_) for x in scores], rooms, None)
  return dict(zip(leaves, masks, strict=True))


def selected_masks(
  leaves: Mapping[str, Float[Array, "..."]],
  *,
  select: Callable[..., Any],
  score: Callable[..., Any] = magnitude,
  seed: int = 0,
) -> dict[str, Bool[Array, "..."]]:
  """Hides what one selection from all leaves together hides: pruning at once, one global threshold.

  Args:
    leaves: the weights, by name.
    select: a bound selection from a tree, such as `partial(select.top, ratio=0.9)`.
    score: of the weights, see `maskjax.weights.score`; it may name `params` and `key`.
    seed: of the keys, one a leaf.

  Returns:
    True where hidden, by the same names.

  Raises:
    BadInput: a score that needs more.

  >>> from maskjax.select import top
  >>> leaves = {"a": jnp.array([[4.0, -3.0]]), "b": jnp.array([[1.0, 0.5]])}
  >>> masks = selected_masks(leaves, select=partial(top, ratio=0.5))
  >>> {name: mask.tolist() for name, mask in masks.items()}
  {'a': [[False, False]], 'b': [[True, True]]}

  Han et al., "Learning both weights and connections", 2015, section 3 (a threshold of magnitudes).
  """
  masks = partial(select, axis=None)(_scores(leaves, score, seed, "selected_masks"))
  return dict(zip(leaves, masks, strict=True))


def _scores(
  leaves: Mapping[str, Float[Array, "..."]], score: Callable[..., Any], seed: int, who: str
) -> list[Float[Array, "..."]]:
  """The scores of each leaf, in their order."""
  score = partial(score)
  bind.check(score, ("params", "key"), who)
  offers = lambda name, leaf: {"params": leaf, "key": stream(jax.random.key(seed), name)}
  return [bind.call(score, offers(name, leaf)) for name, leaf in leaves.items()]
