"""Scores drawn at random, one key per example."""

import math
import numbers
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from maskjax import units
from maskjax.errors import BadInput
from maskjax.score.inherit import inherit


def uniform(keys: Key[Array, "*b"], grid: tuple[int, ...]) -> Float[Array, "*b n"]:
  """White noise: every position is as likely to be hidden first as any other.

  Independent draws from U[0, 1), n = prod(grid) a key.

  Args:
    keys: typed, one per example.
    grid: positions along each axis, n in all.

  Returns:
    Scores in [0, 1).

  Source: He et al. 2022 (MAE), section 3, "Masking".

  >>> uniform(jax.random.split(jax.random.key(0), 8), (14, 14)).shape
  (8, 196)
  """
  n = math.prod(grid)
  return _each(lambda key: jax.random.uniform(key, (n,), jnp.float32), keys)


def normal(keys: Key[Array, "*b"], grid: tuple[int, ...]) -> Float[Array, "*b n"]:
  """Gaussian noise: independent draws from N(0, 1), n = prod(grid) a key.

  In which order positions are hidden is as uniform as with `uniform`; what differs is how far apart
  the scores lie, which soft gates show.

  Source: Zhao et al. 2024 (Bandana), section 4.1.

  >>> normal(jax.random.split(jax.random.key(0), 8), (5, 2)).shape
  (8, 10)
  """
  n = math.prod(grid)
  return _each(lambda key: jax.random.normal(key, (n,), jnp.float32), keys)


def blocks(
  keys: Key[Array, "*b"],
  grid: tuple[int, ...],
  *,
  size: Sequence[int | None],
  offset: bool = False,
) -> Float[Array, "*b n"]:
  """White noise of the cells of a grid, which positions inherit: blocks, spans, tubes, frames.

  Cells of `size` are those of `units.blocks`: a None side is the whole axis, the last cells may be
  smaller. With `offset` an example shifts its cells along each axis by a random part of their side,
  so that between any two neighbours a border is equally likely; cells at both ends are then cut.

  Args:
    keys: typed, one per example.
    grid: positions along each axis, n in all.
    size: positions of a cell along each axis; None: the whole axis.
    offset: whether each example shifts its cells at random.

  Returns:
    Scores in [0, 1), equal within a cell.

  Raises:
    BadInput: see `units.sides`.

  Sources: Xie et al. 2022 (SimMIM), section 3.2, "Masking Strategy" (blocks); Tong et al. 2022
  (VideoMAE), section 3.3 (tubes).

  >>> blocks(jax.random.key(0), (2, 4), size=(2, 2)).reshape(2, 4).argsort(stable=True).tolist()
  [[0, 1, 2, 3], [0, 1, 2, 3]]
  """
  sides = units.sides(grid, size)
  moves = [side if offset and s is not None else 1 for s, side in zip(size, sides, strict=True)]
  cells = [-(-(g + m - 1) // s) for g, m, s in zip(grid, moves, sides, strict=True)]

  def draw(key):
    start = jnp.zeros(len(grid), jnp.int32)
    if offset:
      key, place = jax.random.split(key)
      start = jax.random.randint(place, start.shape, 0, jnp.array(moves, jnp.int32))
    field = jax.random.uniform(key, cells, jnp.float32)
    for axis, side in enumerate(sides):
      field = jnp.repeat(field, side, axis)
    return jax.lax.dynamic_slice(field, start, grid).reshape(-1)

  return _each(draw, keys)


def words(
  keys: Key[Array, "*b"], unit: Int[Array, "*#b n"] | Int[np.ndarray, "*#b n"]
) -> Float[Array, "*b n"]:
  """White noise of units of any length, which their positions inherit: whole words.

  Units are numbered below n, as `units.words` does; a negative unit gives NaN, hidden last. A unit
  is as likely to be hidden first as any other, however long it is.

  Args:
    keys: typed, one per example.
    unit: the unit of each position, in [0, n), or negative for none.

  Returns:
    Scores in [0, 1), equal within a unit; NaN without a unit.

  Source: Cui et al. 2021, "Pre-Training with Whole Word Masking for Chinese BERT".

  >>> s = words(jax.random.key(0), jnp.array([0, 0, 1, 1, 1]))
  >>> bool((s[0] == s[1]) & (s[1] != s[2]) & (s[2] == s[4]))
  True
  """
  return inherit(uniform(keys, unit.shape[-1:]), unit)


def spans(
  keys: Key[Array, "*b"], grid: tuple[int, ...], *, p: float = 0.2, longest: int = 10
) -> Float[Array, "*b n"]:
  r"""Spans of random lengths in random order: a position scores by the first that covers it.

  Each begins at a position that no span before it covers, any of these alike, and is cut by the
  end: $P(\ell) \propto p (1 - p)^{\ell - 1}$ for lengths up to the `longest`. The i-th scores
  between n - i and n - i + 1, falling along it. So the highest scores are those that spans would
  hide one after another, overlaps and all, until there are enough, and the last span is cut.

  Args:
    keys: typed, one per example.
    grid: positions along each axis, n in all, in one sequence.
    p: of the geometric distribution of lengths, in (0, 1]; the lower, the longer.
    longest: positions of the longest span.

  Returns:
    Scores in (0, n + 1), those of the first span the highest.

  Raises:
    BadInput: p outside (0, 1], or a `longest` below 1.

  Source: Joshi et al. 2020, "SpanBERT: Improving Pre-training by Representing and Predicting
  Spans", section 3.1; that a span begins at what is still visible, as in the authors' code.

  >>> s = spans(jax.random.key(0), (8,), p=0.5, longest=3)
  >>> (s // 1 == s.max() // 1).astype(int).tolist()
  [1, 0, 0, 0, 0, 0, 0, 0]
  """
  if not 0 < p <= 1 or longest < 1:
    raise BadInput(f"spans want p in (0, 1] and a longest of at least 1, got {p=}, {longest=}")
  n = math.prod(grid)
  shares = p * (1 - p) ** np.arange(longest)
  ends = jnp.asarray(np.cumsum(shares / shares.sum())[:-1], jnp.float32)

  def draw(key):
    place, size = jax.random.split(key)
    # Of starts drawn again and again, those that are taken are a random order of all positions.
    starts = jax.random.permutation(place, n)
    coin = jax.random.uniform(size, (n,), jnp.float32)
    lengths = 1 + jnp.sum(coin[:, None] >= ends, axis=-1)

    def put(scores, span):
      i, start, length = span
      along = jnp.arange(n) - start
      free = scores == 0
      new = free & (along >= 0) & (along < length) & jnp.any(free & (along == 0))
      return jnp.where(new, n - i + (longest - along) / (longest + 1), scores), None

    # Zeros made from the coin vary over the devices that it varies over.
    return jax.lax.scan(put, 0 * coin, (jnp.arange(n), starts, lengths))[0]

  return _each(draw, keys)


def gumbel(
  keys: Key[Array, "*b"],
  logits: Float[Array, "*#b n"],
  *,
  temperature: float | Float[Array, "..."] = 1.0,
) -> Float[Array, "*b n"]:
  r"""Logits plus Gumbel noise: the k highest are k draws without replacement from their softmax.

  $s_i = \ell_i / T + g_i$ with $g_i = -\log(-\log u_i)$, all in float32, the noise from enough bits
  for its tail. The temperature is a number or one per example.

  Args:
    keys: typed, one per example.
    logits: unnormalised log-probabilities to be hidden.
    temperature: above 0, a number or one per example; the higher, the more uniform.

  Returns:
    Float32 scores; `select.top` of them is the sample.

  Raises:
    BadInput: a temperature that is no number above 0.

  Source: Kool et al. 2019, "Stochastic Beams and Where to Find Them", the Gumbel-top-k trick.

  >>> gumbel(jax.random.split(jax.random.key(0), 8), jnp.zeros(4), temperature=0.5).shape
  (8, 4)
  """
  if isinstance(temperature, numbers.Real) and not temperature > 0:
    raise BadInput(f"the temperature of Gumbel noise must be above 0, got {temperature}")
  n = logits.shape[-1]
  noise = _each(lambda key: jax.random.gumbel(key, (n,), jnp.float32, mode="high"), keys)
  return logits.astype(jnp.float32) / jnp.asarray(temperature, jnp.float32)[..., None] + noise


def _each(draw: Callable[[Array], Array], keys: Key[Array, "*b"]) -> Float[Array, "*b n"]:
  """What `draw` makes of every key."""
  drawn = jax.vmap(draw)(keys.reshape(-1))
  return drawn.reshape(*keys.shape, *drawn.shape[1:])
