"""Selecting the highest scores: an exact number of them, or all above a threshold."""

import contextlib
import functools
import numbers
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from maskjax import masks
from maskjax.errors import BadInput, unknown
from maskjax.select.search import Leaves, best

Count = int | Int[Array, "..."]
Ratio = float | Float[Array, "..."]
LARGEST = 2**31 - 1  # what int32 counts; where more compete, counts are int64
# By name, of a share of n; the product of a share and n is the caller's.
ROUNDED = {
  "nearest": lambda share, n, times, xp: xp.round(times(share)),
  "down": lambda share, n, times, xp: xp.floor(times(share)),
  "up": lambda share, n, times, xp: n - xp.floor(times(1 - share)),
}


def count_of(
  n: int | Int[Array, "..."], *, count: Any = None, ratio: Any = None, rounding: str = "nearest"
) -> Any:
  """How many of `n` allowed positions are to be hidden, from a `count` or a `ratio`, not both.

  Numbers give a Python int, so that shapes can follow from it; arrays, traced or not, give int32
  and are not checked.

  Args:
    n: allowed positions.
    count: of hidden positions.
    ratio: hidden share of n, multiplied in float64 at any size.
    rounding: of the share: "nearest" is `round(ratio * n)`, halves to even; "down" is
      `floor(ratio * n)`; "up" rounds what stays visible down, `n - floor((1 - ratio) * n)`.

  Raises:
    BadInput: neither count nor ratio or both given, a ratio outside [0, 1], a count outside [0, n],
      no number, an unknown rounding.

  >>> count_of(196, ratio=0.75), count_of(196, ratio=0.9), count_of(196, ratio=0.9, rounding="up")
  (147, 176, 177)
  """
  return _count(n, count, ratio, jnp.int32, rounding)


def top(
  scores: Float[Array, "*b n"] | PyTree[Float[Array, "..."]],
  *,
  count: Count | None = None,
  ratio: Ratio | None = None,
  rounding: str = "nearest",
  allowed: Bool[Array, "*#b n"] | PyTree[Bool[Array, "..."]] | None = None,
  axis: int | None = -1,
) -> Bool[Array, "*b n"] | PyTree[Bool[Array, "..."]]:
  """Hides the highest-scoring allowed positions of the last axis, exactly `count` of them.

  `count` is an int, traced, or one per example; `ratio` means a rounded share of the allowed
  positions, `rounding` is that of `count_of`. Scores are compared as float32, subnormal numbers
  included. Ties go to the lower index, -0.0 ties with 0.0, NaN hides last. Where fewer are allowed,
  all allowed are hidden.

  With `axis=None` all entries of an array of any rank, or of a tree of arrays, compete together for
  one `count`; `allowed` is a tree like it, None for a leaf that is allowed whole. Ties go to the
  earlier leaf, then to the lower row-major index.

  The threshold is found by a search: over the bits of the scores in rows, and of all entries by
  interpolation, see `maskjax.select.level`. The cut among those that tie is found by one over the
  index, mostly left out where no tie is to be broken. These are counting passes, no sort and no
  gather, and along a sharded axis nothing but a few numbers to exchange. Beyond 2³¹ - 1 entries the
  counts are int64.

  Args:
    scores: of all positions; high hides first. Or a tree of arrays, with `axis=None`.
    count: how many to hide: an int, traced, or one per example.
    ratio: hidden share of the allowed positions, in [0, 1]; give this or `count`.
    rounding: of `ratio`: "nearest", "down" or "up", see `count_of`.
    allowed: positions that may be hidden; None: all.
    axis: -1: each row by itself; None: all entries together.

  Returns:
    True where hidden, in the shape of the scores.

  Raises:
    BadInput: see `count_of`; another axis; `allowed` that is no tree like `scores`.
    TypeError: scores that are not floating, or `allowed` not bool.

  >>> top(jnp.array([3., 1., 2., 2.]), count=2).tolist()
  [True, False, True, False]
  >>> layers = {"a": jnp.array([[3., 1.], [2., 0.]]), "b": jnp.array([2., 4.])}
  >>> jax.tree.map(lambda x: x.tolist(), top(layers, count=3, axis=None))
  {'a': [[True, False], [True, False]], 'b': [False, True]}
  """
  if axis not in (-1, None):
    raise BadInput(f"top takes axis=-1, the last, or None, all entries together; got {axis!r}")
  leaves, tree = jax.tree.flatten(scores)
  if axis == -1 and not jax.tree_util.treedef_is_leaf(tree):
    raise BadInput("the leaves of a tree of scores compete together: give top axis=None")
  for leaf in leaves:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
      raise TypeError(f"scores are floating, got an array of {leaf.dtype}")
  wide = axis is None and sum(leaf.size for leaf in leaves) > LARGEST
  with jax.enable_x64(True) if wide else contextlib.nullcontext():
    among = _among(leaves, tree, allowed)
    amount = functools.partial(_count, dtype=jnp.int64 if wide else jnp.int32, rounding=rounding)
    room = _room(leaves, among, count, ratio, axis, amount)
    hidden = best(leaves, among, room, axis) if leaves else []
  return jax.tree.unflatten(tree, hidden)


def top_up(
  scores: Float[Array, "*b n"],
  *,
  count: Count | None = None,
  ratio: Ratio | None = None,
  allowed: Bool[Array, "*#b n"] | None = None,
) -> Bool[Array, "*b n"]:
  """Hides the highest-scoring allowed positions until `count` of all are hidden or not allowed.

  What is not allowed (missing values, padding) counts as hidden already and is not among the
  result: at most `n - count` positions are left to see, however many were missing. `ratio` means
  that ⌊(1 - ratio) n⌋ are left to see, since what is left is what this is about: of half of an odd
  number the smaller one. Ties and NaN go as in `top`.

  Args:
    scores: of all positions; high hides first.
    count: how many are to be hidden or not allowed: an int, traced, or one per example.
    ratio: their share of all n, in [0, 1]; give this or `count`.
    allowed: positions that may be hidden; None: all.

  Returns:
    True where hidden; False where not allowed.

  Raises:
    BadInput: see `count_of`.
    TypeError: scores that are not floating, or `allowed` not bool.

  >>> allowed = jnp.array([True, True, True, False])
  >>> top_up(jnp.array([3., 1., 2., 4.]), ratio=0.5, allowed=allowed).tolist()
  [True, False, False, False]
  """
  n = scores.shape[-1]
  wanted = count_of(n, count=count, ratio=ratio)  # checks both
  if ratio is not None:
    left = (1 - ratio) * n
    wanted = n - (int(left) if isinstance(left, float | int) else left.astype(jnp.int32))
  if allowed is None:
    return top(scores, count=wanted)
  masks.check(allowed=allowed)
  gone = jnp.sum(~jnp.broadcast_to(allowed, scores.shape), axis=-1, dtype=jnp.int32)
  return top(scores, count=jnp.maximum(wanted - gone, 0), allowed=allowed)


def threshold(
  scores: Float[Array, "*b n"],
  *,
  above: float | Float[Array, "..."],
  allowed: Bool[Array, "*#b n"] | None = None,
) -> Bool[Array, "*b n"]:
  """Hides every allowed position whose score is greater than `above`; NaN is not hidden.

  `above` is a number or one per example. Of white noise, `above=1 - p` hides each position
  independently with probability p (Bernoulli).

  Args:
    scores: of all positions; high hides first.
    above: the score beyond which positions are hidden, one or one per example.
    allowed: positions that may be hidden; None: all.

  Returns:
    True where hidden.

  Raises:
    TypeError: `allowed` is not bool.

  >>> threshold(jnp.array([0.1, 0.9, 0.5]), above=0.5).tolist()
  [False, True, False]
  """
  hidden = scores > jnp.broadcast_to(jnp.asarray(above), scores.shape[:-1])[..., None]
  if allowed is None:
    return hidden
  masks.check(allowed=allowed)
  return hidden & allowed


def _count(n: Any, count: Any, ratio: Any, dtype: Any, rounding: str) -> Any:
  """See `count_of`; what is no Python int has this `dtype`."""
  if rounding not in ROUNDED:
    raise unknown("rounding", rounding, ROUNDED)
  if (count is None) == (ratio is None):
    raise BadInput(f"give a count or a ratio of positions to hide, got {count=} and {ratio=}")
  if ratio is not None:
    return _share(n, ratio, dtype, rounding)
  if isinstance(count, jax.Array | np.ndarray):
    if not jnp.issubdtype(count.dtype, jnp.integer):
      raise BadInput(f"the count of hidden positions must be integers, got {count.dtype}")
    return jnp.asarray(count, dtype)
  if not isinstance(count, numbers.Integral):
    raise BadInput(f"the count of hidden positions must be an integer, got {count!r}")
  count = int(count)
  if count < 0 or (isinstance(n, int) and count > n):
    raise BadInput(f"the count of hidden positions must lie in [0, {n}], got {count}")
  return count


def _share(n: int | Int[Array, "..."], ratio: Any, dtype: Any, rounding: str) -> Any:
  """The rounded share of n, see `count_of`."""
  traced = isinstance(ratio, jax.Array | np.ndarray)
  if not traced:
    if not isinstance(ratio, numbers.Real):
      raise BadInput(f"the ratio of hidden positions must be a number, got {ratio!r}")
    ratio = float(ratio)
    if not 0 <= ratio <= 1:
      raise BadInput(f"the ratio of hidden positions must lie in [0, 1], got {ratio}")
    if isinstance(n, int):
      return int(ROUNDED[rounding](ratio, n, lambda share: share * n, np))
  # Above 2²⁴ float32 skips integers. A ratio that is itself float32 keeps float32's rounding while
  # that resolves halves, or 0.1 of 5 would not be the half that it is meant to be.
  with jax.enable_x64(True):
    wide, many = jnp.asarray(ratio, jnp.float64), jnp.asarray(n, jnp.float64)

    def times(share: Any) -> Any:
      product = share * many
      narrow = (share.astype(jnp.float32) * many.astype(jnp.float32)).astype(jnp.float64)
      return jnp.where(product < 2**22, narrow, product) if traced else product

    return ROUNDED[rounding](wide, many, times, jnp).astype(dtype)


def _among(leaves: Leaves, tree: Any, allowed: Any) -> Leaves:
  """The allowed entries of each leaf: of its shape, or one True where nothing is said of any."""
  if allowed is None:
    return [jnp.ones((), jnp.bool_)] * len(leaves)
  try:
    parts = tree.flatten_up_to(allowed)
  except ValueError as error:
    raise BadInput(f"allowed is no tree like that of the scores: {error}") from error
  parts = [jnp.ones((), jnp.bool_) if part is None else part for part in parts]
  for part in parts:
    masks.check(allowed=part)
  return [jnp.broadcast_to(part, leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]


def _room(
  leaves: Leaves, among: Leaves, count: Any, ratio: Any, axis: int | None, amount: Any
) -> Int[Array, "..."]:
  """How many are to be hidden: in each row `[*b, 1]`, or in all leaves together `[]`."""
  shape = () if axis is None else leaves[0].shape[:-1]
  candidates: Any = sum(leaf.size for leaf in leaves) if axis is None else leaves[0].shape[-1]
  if ratio is not None and any(mask.ndim for mask in among):
    counts = [jnp.sum(mask, axis=axis, dtype=amount.keywords["dtype"]) for mask in among]
    candidates = functools.reduce(operator.add, counts)
  count = jnp.broadcast_to(jnp.asarray(amount(candidates, count, ratio)), shape)
  return count if axis is None else count[..., None]
