"""How many patches a model is shown: a few static numbers, of which a step takes the smallest."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from maskjax import bind, reduce
from maskjax.errors import BadInput

# With one of these bound, a selection hides the same number whatever the scores.
FIXED = ("count", "ratio", "keep", "counts", "ratios")


def buckets(
  keep: int | Sequence[int] | None, select: functools.partial[Any], grid: tuple[int, ...]
) -> tuple[int, ...]:
  """Numbers of patches that the model may see, rising; None is all that a fixed number leaves.

  Raises:
    BadInput: the selection hides no fixed number and none are given, or one is not within the grid.
  """
  n = math.prod(grid)
  if keep is None:
    given = [v for k, v in select.keywords.items() if k in FIXED and v is not None]
    if not given or any(isinstance(value, bind.Moving) for value in given):
      raise BadInput(f"{select.func.__name__} hides no fixed number of patches: set task.keep")
    keep = n - int(bind.call(select, {"grid": grid}, jnp.zeros(n)).sum())
  sizes = (keep,) if isinstance(keep, int) else tuple(sorted(set(keep)))
  for size in sizes or (0,):
    if not 0 < size <= n:
      raise BadInput(f"{size} of {n} patches would be left visible; at least one is needed")
  return sizes


def in_bucket(
  sizes: Sequence[int],
  hidden: Bool[Array, "*b n"],
  see: Callable[[int], Callable[[Bool[Array, "*b n"]], Any]],
) -> Any:
  """`see(keep)(hidden)` with the smallest number that holds the visible patches of all examples.

  Those of the whole batch, wherever it lies; of more than the largest, `see` leaves some out.
  """
  if len(sizes) == 1:
    return see(sizes[0])(hidden)
  needed = reduce.combine(jax.lax.pmax, jnp.max(jnp.sum(~hidden, axis=-1, dtype=jnp.int32)))
  bucket = jnp.sum(jnp.asarray(sizes[:-1]) < needed)
  return jax.lax.switch(bucket, [see(keep) for keep in sizes], hidden)
