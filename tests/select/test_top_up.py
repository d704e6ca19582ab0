"""Topping up: what is missing counts as hidden already."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import select
from maskjax.errors import BadInput


def drawn(rows=200, n=9):
  scores, there = jax.random.split(jax.random.key(0))
  missing = jnp.linspace(0, 1, rows)[:, None]
  return jax.random.uniform(scores, (rows, n)), jax.random.uniform(there, (rows, n)) >= missing


@pytest.mark.parametrize("count", [0, 4, 9])
def test_it_hides_the_highest_of_what_is_there_up_to_the_count(count):
  scores, allowed = drawn()
  hidden = np.asarray(select.top_up(scores, count=count, allowed=allowed))
  for row, score, there in zip(hidden, np.asarray(scores), np.asarray(allowed), strict=True):
    more = max(count - int((~there).sum()), 0)
    ranked = [i for i in np.argsort(-score) if there[i]]
    assert sorted(np.flatnonzero(row)) == sorted(ranked[:more])


def test_as_many_are_seen_in_every_row_that_has_so_many():
  scores, allowed = drawn()
  visible = np.asarray(allowed & ~select.top_up(scores, ratio=0.5, allowed=allowed)).sum(-1)
  np.testing.assert_array_equal(visible, np.minimum(np.asarray(allowed).sum(-1), 9 - round(4.5)))
  # Of plain top of the allowed, the fewer there are, the fewer are seen.
  plain = np.asarray(allowed & ~select.top(scores, ratio=0.5, allowed=allowed)).sum(-1)
  assert (plain < visible).any()


def test_without_missing_positions_it_is_top():
  scores, _ = drawn()
  expected = select.top(scores, ratio=0.5)
  everywhere = jnp.ones_like(scores, bool)
  np.testing.assert_array_equal(select.top_up(scores, ratio=0.5), expected)
  np.testing.assert_array_equal(select.top_up(scores, ratio=0.5, allowed=everywhere), expected)


@pytest.mark.parametrize("amount", [{}, {"count": 2, "ratio": 0.5}, {"ratio": 1.5}, {"count": 10}])
def test_amounts_are_checked(amount):
  with pytest.raises(BadInput):
    select.top_up(jnp.zeros(9), **amount)
