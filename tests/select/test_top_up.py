"""Topping up: what is missing counts as hidden already."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import select
from maskjax.errors import BadInput

N = 9


def drawn(rows=200):
  rng = np.random.default_rng(0)
  missing = np.linspace(0, 1, rows)[:, None]
  return rng.random((rows, N), np.float32), rng.random((rows, N)) >= missing


@jax.jit
def ways(scores, allowed):
  """Masks of counts, and of half of all by `top_up` and by `top`."""
  hide = lambda select, **words: select(scores, ratio=0.5, **words)
  everywhere = jnp.ones_like(allowed)
  return {
    "count": {c: select.top_up(scores, count=c, allowed=allowed) for c in (0, 4, 9)},
    "up": hide(select.top_up, allowed=allowed),
    "plain": hide(select.top, allowed=allowed),
    "of all": (
      hide(select.top_up),
      hide(select.top_up, allowed=everywhere),
      select.top(scores, count=N - N // 2),
    ),
  }


@pytest.mark.parametrize("count", [0, 4, 9])
def test_it_hides_the_highest_of_what_is_there_up_to_the_count(count):
  scores, allowed = drawn()
  hidden = np.asarray(ways(scores, allowed)["count"][count])
  for row, score, there in zip(hidden, scores, allowed, strict=True):
    more = max(count - int((~there).sum()), 0)
    ranked = [i for i in np.argsort(-score) if there[i]]
    assert sorted(np.flatnonzero(row)) == sorted(ranked[:more])


def test_as_many_are_seen_in_every_row_that_has_so_many():
  scores, allowed = drawn()
  hidden = jax.device_get(ways(scores, allowed))
  visible = (allowed & ~hidden["up"]).sum(-1)
  np.testing.assert_array_equal(visible, np.minimum(allowed.sum(-1), N // 2))
  # Of plain top of the allowed, the fewer there are, the fewer are seen.
  assert ((allowed & ~hidden["plain"]).sum(-1) < visible).any()


def test_half_of_an_odd_number_leaves_the_smaller_half_to_see():
  """As the authors' `len_keep = int(L * (1 - mask_ratio))`."""
  cases = [(5, 0.5), (7, 0.5), (8, 0.5), (9, 0.5), (13, 0.5), (13, 0.3), (6, 0.0), (6, 1.0)]
  left = lambda n, ratio: jnp.sum(~select.top_up(jnp.arange(n) / n, ratio=ratio))
  run = lambda moving: ([left(*case) for case in cases], left(13, moving))
  static, traced = jax.device_get(jax.jit(run)(0.5))
  assert static == [int(n * (1 - ratio)) for n, ratio in cases]
  assert traced == 6


def test_without_missing_positions_it_is_top():
  plain, everywhere, expected = ways(*drawn())["of all"]
  np.testing.assert_array_equal(plain, expected)
  np.testing.assert_array_equal(everywhere, expected)


@pytest.mark.parametrize("amount", [{}, {"count": 2, "ratio": 0.5}, {"ratio": 1.5}, {"count": 10}])
def test_amounts_are_checked(amount):
  with pytest.raises(BadInput):
    select.top_up(jnp.zeros(N), **amount)
