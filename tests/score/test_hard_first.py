"""What is hardest is hidden for certain, the rest at random, and more of it late than early."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import bind, keys, schedule, score, select

N, DRAWS = 24, 4000
LOSS = np.random.default_rng(1).standard_normal(N, np.float32)


def often(count, hard, steps=(0,), loss=LOSS):
  """How often each position is among the `count` that are hidden, at every step."""

  @jax.jit
  def hide(key, step, loss):
    each = jnp.broadcast_to(loss, (DRAWS, N))
    return select.top(score.hard_first(keys(key, DRAWS), each, step, select=hard), count=count)

  hidden = np.stack([hide(jax.random.key(0), step, loss) for step in steps])
  assert (hidden.sum(-1) == count).all()
  return hidden.mean(1)


@pytest.mark.parametrize("picked", [0, 1, 9, 18, 24])
def test_the_hardest_are_always_hidden_and_the_rest_as_often_as_one_another(picked):
  share = often(18, partial(select.top, count=picked))[0]
  hardest = np.argsort(-LOSS)[:picked]
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
  certain = (often(18, partial(select.top, ratio=ratio), (0, 50, 100)) == 1).sum(-1)
  assert certain.tolist() == [0, round(0.1875 * N), 9]


def test_what_has_no_loss_comes_last():
  loss = np.where(np.arange(N) < 3, np.nan, LOSS)
  share = often(18, partial(select.top, count=10), loss=loss)[0]
  hardest = np.argsort(-np.where(np.arange(N) < 3, -np.inf, LOSS))[:10]
  assert (share[hardest] == 1).all()
  assert (share[:3] < 1).all()
