"""Selecting anew from a mask that may change but little at a time."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import masks
from maskjax.errors import BadInput
from maskjax.select.top import count_of, top


def limited(
  scores: Float[Array, "*b n"],
  before: Bool[Array, "*b n"],
  *,
  ratio: float | Float[Array, "..."] = 1.0,
  allowed: Bool[Array, "*b n"] | None = None,
  axis: int | None = -1,
) -> Bool[Array, "*b n"]:
  r"""Hides the highest scores, as many as before, but makes at most a share of the exchanges.

  The mask of as many positions with the highest scores differs from `before` by p pairs, a shown
  one and a hidden one of a lower score each. Of them $\lceil r\,p \rceil$ are exchanged: the
  highest-scoring shown ones are hidden, the lowest-scoring hidden ones are shown. Between equal
  scores nothing is exchanged; other ties, -0.0 and NaN go as in `top`.

  Args:
    scores: of all positions; high hides first.
    before: the mask that is changed.
    ratio: $r$, the share of the wanted exchanges that is made, or one per example; 1 makes all.
    allowed: positions that may be exchanged, the others stay what they are; None: all.
    axis: -1: each row by itself; None: all entries together.

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
  masks.check(before=before)
  if axis not in (-1, None):
    raise BadInput(f"limited takes axis=-1, the last, or None, all entries; got {axis!r}")
  room = jnp.ones_like(before) if allowed is None else jnp.broadcast_to(allowed, before.shape)
  masks.check(allowed=room)
  scores = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
  number = lambda where: jnp.sum(where, axis=axis, dtype=jnp.int32)
  wished = top(scores, count=number(before & room), allowed=room, axis=axis)
  # The lowest score that is to be hidden: what lies above it and is shown, or below and hidden, is
  # at the wrong place.
  level = jnp.min(scores, where=wished, initial=jnp.inf, axis=axis, keepdims=True)
  shown, hidden = room & ~before, room & before
  pairs = jnp.maximum(number(shown & (scores > level)), number(hidden & (scores < level)))
  count = count_of(pairs, ratio=ratio, rounding="up")
  more = top(scores, count=count, allowed=shown, axis=axis)
  return (before | more) & ~top(-scores, count=count, allowed=hidden, axis=axis)
