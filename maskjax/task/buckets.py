"""How many positions a model sees: static numbers, of which a step takes the smallest that do."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from maskjax import bind, reduce
from maskjax.errors import BadInput

# With one of these bound, a selection hides the same number whatever the scores.
FIXED = ("count", "ratio", "keep", "counts", "ratios")


def kept(
  keep: int | Sequence[int] | None, select: functools.partial[Any], grid: tuple[int, ...]
) -> tuple[int, ...]:
  """Numbers of positions that a model may see, rising; None asks `select` for the only one.

  Raises:
    BadInput: `select` hides no fixed number, or nothing would be left visible.
  """
  n = math.prod(grid)
  if keep is None:
    given = [v for k, v in select.keywords.items() if k in FIXED and v is not None]
    if not given or any(isinstance(value, bind.Moving) for value in given):
      raise BadInput(f"{select.func.__name__} hides no fixed number of patches: set hide.keep")
    keep = n - hidden_of(select, {"grid": grid}, n)
  buckets = (keep,) if isinstance(keep, int) else tuple(sorted(set(keep)))
  for size in buckets or (0,):
    if not 0 < size <= n:
      raise BadInput(f"{size} of {n} patches would be left visible; at least one is needed")
  return buckets


def hidden_of(select: functools.partial[Any], around: Mapping[str, Any], n: int) -> int:
  """How many of n positions a selection hides that hides the same number whatever the scores.

  >>> from maskjax.select import top
  >>> hidden_of(functools.partial(top, ratio=0.75), {}, 16)
  12
  """
  # One program: eager, every operation of a selection would be compiled by itself.
  count = jax.jit(lambda scores: jnp.sum(bind.call(select, around, scores)))
  return int(count(np.zeros(n, np.float32)))


def bucket_of(buckets: Sequence[int], gone: Bool[Array, "b n"]) -> Int[Array, ""]:
  """The index of the smallest bucket that holds what is not gone of any example, or of the last.

  Where devices hold parts of a batch, that of the whole batch.

  >>> bucket_of((1, 2, 4), jnp.array([[True, True, False], [True, False, False]])).item()
  1
  """
  needed = reduce.combine(jax.lax.pmax, jnp.max(jnp.sum(~gone, axis=-1, dtype=jnp.int32)))
  return jnp.sum(jnp.asarray(buckets[:-1]) < needed)
