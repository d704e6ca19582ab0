"""Selecting anew from a mask that may change but little at a time."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from maskjax import masks
from maskjax.errors import BadInput
from maskjax.select.each import counted, each, levels
from maskjax.select.search import ordered


def limited(
  scores: Float[Array, "*b n"] | PyTree[Float[Array, "..."]],
  before: Bool[Array, "*b n"] | PyTree[Bool[Array, "..."]],
  *,
  ratio: float | Float[Array, "..."] = 1.0,
  allowed: Bool[Array, "*b n"] | PyTree[Bool[Array, "..."]] | None = None,
  axis: int | None = -1,
) -> Bool[Array, "*b n"] | PyTree[Bool[Array, "..."]]:
  r"""Hides the highest scores, as many as before, but makes at most a share of the exchanges.

  The mask of as many positions with the highest scores differs from `before` by p pairs, a shown
  one and a hidden one of a lower score each. Of them $\lceil r\,p \rceil$ are exchanged: the
  highest-scoring shown ones are hidden, the lowest-scoring hidden ones are shown. Between equal
  scores nothing is exchanged; other ties, -0.0 and NaN go as in `top`.

  Args:
    scores: of all positions; high hides first. Or a tree of arrays, each by itself, by one search.
    before: the mask that is changed.
    ratio: $r$, the share of the wanted exchanges that is made, or one per example; 1 makes all.
    allowed: positions that may be exchanged, the others stay what they are; None: all.
    axis: -1: each row by itself; None: all entries of an array together.

  Returns:
    True where hidden, as many as before.

  Raises:
    BadInput: a ratio outside [0, 1], another axis.
    TypeError: scores that are not floating, a mask that is not bool.

  >>> scores, before = jnp.array([9., 1., 5., 3.]), jnp.array([False, True, False, True])
  >>> limited(scores, before, ratio=0.5).tolist()
  [True, False, False, True]
  >>> limited(scores, before).tolist()
  [True, False, True, False]

  Zhang et al., "Lottery Jackpots Exist in Pre-trained Models", 2023, section 3.4 (short
  restriction).
  """
  if isinstance(ratio, float | int) and not 0 <= ratio <= 1:
    raise BadInput(f"the ratio of exchanges must lie in [0, 1], got {ratio}")
  if axis not in (-1, None):
    raise BadInput(f"limited takes axis=-1, the last, or None, all entries; got {axis!r}")
  leaves, tree = jax.tree.flatten(scores)
  like = tree.flatten_up_to  # type: ignore[attr-defined]
  old = like(before)
  room = like(allowed) if allowed is not None else [jnp.ones_like(x) for x in old]
  for mask, may in zip(old, room, strict=True):
    masks.check(before=mask, allowed=may)
  leaves = [jnp.where(jnp.isnan(x), -jnp.inf, jax.lax.stop_gradient(x)) for x in leaves]
  hidden = [x & a for x, a in zip(old, room, strict=True)]
  shown = [~x & a for x, a in zip(old, room, strict=True)]
  # The lowest score that is to be hidden: what lies above it and is shown, or below and hidden, is
  # at the wrong place.
  level = levels(leaves, room, [counted(x, axis) for x in hidden], axis)
  wrong = lambda part, which: counted(part & which, axis)
  counts = []
  for x, s, h, at in zip(map(ordered, leaves), shown, hidden, level, strict=True):
    pairs = jnp.maximum(wrong(s, x > at), wrong(h, x < at))
    counts.append(share_of(pairs, ratio if jnp.ndim(ratio) == 0 else jnp.asarray(ratio)[..., None]))
  taken = each([*leaves, *(-x for x in leaves)], [*shown, *hidden], [*counts, *counts], axis)
  more, back = taken[: len(old)], taken[len(old) :]
  after = [(x | m) & ~b for x, m, b in zip(old, more, back, strict=True)]
  return jax.tree.unflatten(tree, after)


def share_of(n: Int[Array, "..."], ratio: float | Float[Array, "..."]) -> Int[Array, "..."]:
  r"""$\lceil r\,n \rceil$, at least 1 of what is not nothing, but what float32 rounds to a whole.

  >>> share_of(jnp.array([0, 10, 11]), 0.1).tolist()
  [0, 1, 2]
  """
  product = jnp.asarray(ratio, jnp.float32) * n.astype(jnp.float32)
  near = jnp.round(product)
  whole = jnp.abs(product - near) <= product * 2.0**-22
  return jnp.minimum(jnp.where(whole, near, jnp.ceil(product)).astype(jnp.int32), n)
