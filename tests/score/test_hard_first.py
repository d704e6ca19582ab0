"""What is hardest is hidden for certain, the rest at random, and more of it late than early."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import bind, keys, schedule, score, select

N, DRAWS = 24, 4000
LOSS = jax.random.normal(jax.random.key(1), (N,))


def often(count, hard, step=0, loss=LOSS):
  """How often each position is among the `count` that are hidden."""
  drawn = keys(jax.random.key(0), DRAWS)
  each = jnp.broadcast_to(loss, (DRAWS, N))
  scores = score.hard_first(drawn, each, step, select=hard)
  hidden = select.top(scores, count=count)
  assert (hidden.sum(-1) == count).all()
  return np.asarray(hidden.mean(0))


@pytest.mark.parametrize("picked", [0, 1, 9, 18, 24])
def test_the_hardest_are_always_hidden_and_the_rest_as_often_as_one_another(picked):
  share = often(18, partial(select.top, count=picked))
  hardest = np.argsort(-np.asarray(LOSS))[:picked]
  others = np.setdiff1d(np.arange(N), hardest)
  if picked <= 18:
    assert (share[hardest] == 1).all()
  if picked < 18:
    rest = (18 - picked) / (N - picked)
    np.testing.assert_allclose(share[others], rest, atol=0.04)
  else:  # Only among those that are picked.
    assert (share[others] == 0).all()
    np.testing.assert_allclose(share[hardest], 18 / picked, atol=0.04)


def test_it_grows_harder_with_the_step():
  ratio = bind.Moving(schedule.at_step(schedule.linear(0.0, 0.375), 100))
  certain = [int((often(18, partial(select.top, ratio=ratio), s) == 1).sum()) for s in (0, 50, 100)]
  assert certain == [0, round(0.1875 * N), 9]


def test_what_has_no_loss_comes_last():
  loss = LOSS.at[:3].set(jnp.nan)
  share = often(18, partial(select.top, count=10), loss=loss)
  hardest = np.argsort(-np.asarray(LOSS.at[:3].set(-jnp.inf)))[:10]
  assert (share[hardest] == 1).all()
  assert (share[:3] < 1).all()
