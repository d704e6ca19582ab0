"""A budget of visible positions, split at random over the sections of a sequence: modalities."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from maskjax.errors import BadInput
from maskjax.score.noise import uniform


def split(
  keys: Key[Array, "*b"],
  sizes: tuple[int, ...],
  keep: int,
  *,
  alpha: float | Sequence[float] = 1.0,
  subsets: bool = False,
) -> Float[Array, "*b n"]:
  r"""Noise whose lowest `keep` positions are split over sections by shares from a Dirichlet.

  $\lambda \sim \mathrm{Dir}(\alpha)$, and `select.top` that hides all but `keep` leaves about
  $\lambda_i \cdot \mathrm{keep}$ random positions of section i to see; see `by_shares`. Sections of
  the given `sizes` follow each other, n in all. `alpha` is a number or one a section: the smaller,
  the likelier that one section gets nearly all. With `subsets` every set of sections but the empty
  one is equally likely to be the one that shares; the others get nothing.

  Args:
    keys: typed, one per example.
    sizes: positions of each section, n in all.
    keep: positions that stay visible in all sections together.
    alpha: concentration of the Dirichlet distribution, above 0, one or one a section.
    subsets: whether only a random set of the sections shares.

  Returns:
    Scores in [0, 2); those below 1 are to stay visible.

  Raises:
    BadInput: no sections, or an `alpha` that is not above 0 or not one a section.

  Source: Bachmann et al. 2022 (MultiMAE), section 3.3.

  >>> s = split(jax.random.key(0), (2, 3), 1)
  >>> int((s < 1).sum())
  1
  """
  given = np.asarray(alpha, np.float32)
  if not sizes or given.shape not in ((), (len(sizes),)) or not (given > 0).all():
    raise BadInput(f"{len(sizes)} sections want alpha above 0, one or one each, got {alpha}")

  def draw(key: Key[Array, ""]) -> Float[Array, "g"]:
    key, chosen = jax.random.split(key)
    logs = jax.random.loggamma(key, jnp.asarray(given), (len(sizes),), jnp.float32)
    if subsets:
      number = jax.random.randint(chosen, (), 1, 2 ** len(sizes))
      logs = jnp.where((number >> jnp.arange(len(sizes))) & 1, logs, -jnp.inf)
    return jax.nn.softmax(logs)

  each = jax.vmap(lambda key: jax.random.split(key, 3))(keys.reshape(-1))
  each = each.reshape(*keys.shape, 3)
  shares = jax.vmap(draw)(each[..., 0].reshape(-1)).reshape(*keys.shape, len(sizes))
  grid = (sum(sizes),)
  return by_shares(shares, uniform(each[..., 1], grid), uniform(each[..., 2], grid), sizes, keep)


def by_shares(
  shares: Float[Array, "*b g"],
  order: Float[Array, "*b n"],
  rest: Float[Array, "*b n"],
  sizes: Sequence[int],
  keep: int,
) -> Float[Array, "*b n"]:
  """Scores below 1 at `round(share * keep)` positions of each section, the lowest of its `order`.

  Halves round to even, and no section has more than its size. So about `keep` are wanted; whether
  some of these are left out, or others come in, `rest` decides, in [0, 1), whatever the section.

  >>> order = rest = jnp.array([0.3, 0.1, 0.2, 0.5, 0.4])
  >>> (by_shares(jnp.array([0.4, 0.6]), order, rest, (2, 3), 2) < 1).astype(int).tolist()
  [0, 1, 1, 0, 0]
  """
  if sum(sizes) != order.shape[-1]:
    raise BadInput(f"sections of {tuple(sizes)} do not make up {order.shape[-1]} positions")
  wanted = jnp.round(shares * keep).astype(jnp.int32)
  late, start = [], 0
  for i, size in enumerate(sizes):
    part = order[..., start : start + size]
    place = jnp.argsort(jnp.argsort(part, axis=-1), axis=-1)
    late.append(place >= wanted[..., i, None])
    start += size
  return jnp.concatenate(late, axis=-1).astype(jnp.float32) + rest
