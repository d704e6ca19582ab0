"""Few exchanges at a time: as many as asked, the most wanted first, and never between equals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import select
from maskjax.errors import BadInput

RATIOS = (0.0, 0.1, 0.25, 0.5, 1.0)
ROWS, WIDTH = 40, 24


def oracle(scores, before, ratio, allowed):
  """Pairs by sorting: the i-th highest shown with the i-th lowest hidden, while it is higher."""
  shown = [i for i in np.argsort(-scores, kind="stable") if allowed[i] and not before[i]]
  hidden = [i for i in np.argsort(scores, kind="stable") if allowed[i] and before[i]]
  pairs = [(s, h) for s, h in zip(shown, hidden, strict=False) if scores[s] > scores[h]]
  after = before.copy()
  for s, h in pairs[: int(np.ceil(np.round(ratio * len(pairs), 4)))]:
    after[s], after[h] = True, False
  return after


@pytest.mark.parametrize("ties", [False, True])
def test_the_most_wanted_exchanges_are_made_and_no_others(ties):
  rng = np.random.default_rng(0)
  scores = rng.standard_normal((ROWS, WIDTH), np.float32)
  scores = np.round(scores) if ties else scores
  before, allowed = rng.random((ROWS, WIDTH)) < 0.4, rng.random((ROWS, WIDTH)) < 0.8
  ratio = np.float32(RATIOS)[np.arange(ROWS) % len(RATIOS)]
  run = jax.jit(lambda s, b, r, a: select.limited(s, b, ratio=r, allowed=a))
  found = np.asarray(run(scores, before, ratio, allowed))
  np.testing.assert_array_equal(found.sum(-1), before.sum(-1))
  for row in zip(found, scores, before, ratio, allowed, strict=True):
    expected = oracle(*row[1:])
    np.testing.assert_array_equal(row[0], expected)
  assert (found != before).any(-1).mean() > 0.4


def test_all_exchanges_give_what_is_highest():
  scores = np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32)
  scores, before = jnp.asarray(scores), jnp.arange(24).reshape(4, 6) % 3 == 0
  both = lambda s, b: (select.limited(s, b, axis=None), select.top(s, count=8, axis=None))
  np.testing.assert_array_equal(*jax.jit(both)(scores, before))


def test_what_cannot_be_is_named():
  scores, before = jnp.zeros(3), jnp.zeros(3, bool)
  with pytest.raises(BadInput, match="limited takes axis=-1"):
    select.limited(scores, before, axis=0)
  with pytest.raises(BadInput, match=r"must lie in \[0, 1\]"):
    jax.eval_shape(lambda s, b: select.limited(s, b, ratio=1.5), scores, before)
  with pytest.raises(TypeError, match="before"):
    select.limited(scores, jnp.zeros(3, jnp.int32))
