"""Noise in which what is hardest comes first."""

import functools
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from maskjax import bind
from maskjax.score.noise import uniform


def hard_first(
  keys: Key[Array, "*b"],
  loss: Float[Array, "*b n"],
  step: Any = 0,
  *,
  select: functools.partial[Bool[Array, "*b n"]],
) -> Float[Array, "*b n"]:
  """White noise, but what `select` picks by its (predicted) loss comes before all else.

  So a selection that hides more than `select` picks takes all of that and draws the rest at random;
  one that hides fewer draws among the picked. Arguments of `select` may move with the step: from
  easy to hard.

  Args:
    keys: typed, one per example.
    loss: of each position, measured or predicted.
    step: of the run, for arguments of `select` that move.
    select: takes the loss, and says which positions come first.

  Returns:
    Scores in [1, 2) where picked, in [0, 1) elsewhere.

  >>> import jax
  >>> from maskjax import keys, select
  >>> loss, half = jnp.array([[1., 3., 2., 0.]]), functools.partial(select.top, ratio=0.5)
  >>> scores = hard_first(keys(jax.random.key(0), 1), loss, select=half)
  >>> (scores >= 1).tolist()
  [[False, True, True, False]]

  Source: Wang et al. 2023 (HPM), section 3.4.
  """
  noise = uniform(keys, loss.shape[-1:])
  return noise + bind.at(select, step)(loss).astype(jnp.float32)
