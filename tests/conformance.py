"""One row per op of the grammar: how to call it, and small inputs that are batched along axis 0."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from maskjax import hide, keys, recover, schedule, score, select

BATCH, GRID, PATCH = 8, (2, 3), (2, 2)
N, WIDTH, KEEP = 6, 4, 3


class Row(NamedTuple):
  """An op with everything but its arrays bound.

  Attributes:
    op: takes the arrays.
    inputs: `key -> arrays`, each `[BATCH, …]`.
    sums: whether the results are sums over the batch, to be added up over devices.
  """

  op: Callable[..., Any]
  inputs: Callable[[Any], tuple[Any, ...]]
  sums: bool = False


def noise(key, *shape):
  """Scores with ties, both zeros, infinities and NaN among them."""
  x = jnp.round(2 * jax.random.normal(key, (BATCH, *shape))) / 2
  return x.at[0, 0].set(jnp.nan).at[1, 0].set(jnp.inf).at[2, 1].set(-0.0)


def smooth(key, *shape):
  """Values without exceptions."""
  return jax.random.normal(key, (BATCH, *shape))


def exact(key):
  """Masks that hide N - KEEP positions of every example."""
  return (select.top(jax.random.normal(key, (BATCH, N)), count=N - KEEP),)


def ragged(key):
  """Masks that hide anything from nothing to all."""
  return (jax.random.uniform(key, (BATCH, N)) < jnp.linspace(0, 1, BATCH)[:, None],)


def one(*makers):
  """The inputs that several makers give, each from a key of its own."""
  return lambda key: sum((m(k) for m, k in zip(makers, _split(key, makers), strict=True)), ())


def _split(key, makers):
  return jax.random.split(key, len(makers))


scores = lambda key: (noise(key, N),)
tokens = lambda key: (smooth(key, N, WIDTH),)
packed = lambda key: (smooth(key, KEEP, WIDTH),)
counts = lambda key: (jax.random.randint(key, (BATCH,), 0, N + 1),)
share = lambda key: (jax.random.uniform(key, (BATCH,)),)
progress = lambda key: (jax.random.uniform(key, (BATCH, 3)),)
steps = lambda key: (jax.random.randint(key, (BATCH, 3), 0, 120),)
images = lambda key: (smooth(key, GRID[0] * PATCH[0], GRID[1] * PATCH[1], 3),)
patches = lambda key: (smooth(key, N, 12),)


def at(factory, *args, **kwargs):
  """A row of a schedule, called with `u` or the step."""
  inputs = steps if factory.__name__.startswith("at_") else progress
  return Row(factory(*args, **kwargs), inputs)


line = schedule.linear(0.75, 0.25)
ROWS = {
  "score.white": Row(partial(score.white, grid=GRID), lambda key: (keys(key, BATCH),)),
  "select.top": Row(partial(select.top, count=2), scores),
  "select.top/ratio": Row(partial(select.top, ratio=0.5), scores),
  "select.top/counts": Row(
    lambda s, c, a: select.top(s, count=c, allowed=a), one(scores, counts, ragged)
  ),
  "select.top/ratios": Row(
    lambda s, r, a: select.top(s, ratio=r, allowed=a), one(scores, share, ragged)
  ),
  "select.top/share": Row(lambda s, a: select.top(s, ratio=0.5, allowed=a), one(scores, ragged)),
  "select.threshold": Row(partial(select.threshold, above=0.5), scores),
  "select.threshold/each": Row(
    lambda s, t, a: select.threshold(s, above=t, allowed=a), one(scores, share, ragged)
  ),
  "select.count_of": Row(partial(select.count_of, ratio=0.3), counts),
  "hide.drop": Row(partial(hide.drop, keep=KEEP), one(tokens, exact)),
  "hide.drop/ragged": Row(partial(hide.drop, keep=KEEP), one(tokens, ragged)),
  "hide.restore": Row(partial(hide.restore, fill=jnp.full(WIDTH, 7.0)), one(packed, exact)),
  "hide.restore/ragged": Row(partial(hide.restore, fill=jnp.zeros(WIDTH)), one(packed, ragged)),
  "hide.fill": Row(partial(hide.fill, value=-1.0), one(tokens, ragged)),
  "recover.absolute_error": Row(recover.absolute_error, one(tokens, tokens, ragged), sums=True),
  "recover.squared_error": Row(recover.squared_error, one(tokens, tokens, ragged), sums=True),
  "recover.patchify": Row(partial(recover.patchify, patch=PATCH), images),
  "recover.unpatchify": Row(
    partial(recover.unpatchify, patch=PATCH, grid=GRID, channels=3), patches
  ),
  "recover.pixels": Row(recover.pixels().encode, patches),
  "recover.pixels/plain": Row(recover.pixels(normalise=False).encode, patches),
  "recover.pixels/decode": Row(recover.pixels().decode, one(patches, patches)),
  "schedule.at_epoch": at(schedule.at_epoch, line, 10, 10),
  "schedule.at_step": at(schedule.at_step, line, 100),
  "schedule.constant": at(schedule.constant, 0.5),
  "schedule.cosine": at(schedule.cosine, 0.75, 0.25),
  "schedule.exponential": at(schedule.exponential, 0.75, 0.25),
  "schedule.linear": at(schedule.linear, 0.75, 0.25),
  "schedule.piecewise": at(schedule.piecewise, [line, schedule.constant(0.1)], [0.5]),
  "schedule.polynomial": at(schedule.polynomial, 0.75, 0.25),
  "schedule.step": at(schedule.step, [0.75, 0.5], [0.5]),
  "schedule.warmup": at(schedule.warmup, line, 0.25),
}
