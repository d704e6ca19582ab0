"""Spans of random lengths: against one after another, and what plain noise would not give."""

import jax
import numpy as np
import pytest

from maskjax import score, select
from maskjax.errors import BadInput
from maskjax.keys import keys

KEYS = keys(jax.random.key(0), 4000)


def lengths(hidden):
  """The lengths of all runs of hidden positions."""
  padded = np.pad(np.asarray(hidden, int), ((0, 0), (1, 1)))
  change = np.diff(padded, axis=1)
  return np.argwhere(change == -1)[:, 1] - np.argwhere(change == 1)[:, 1]


def one_after_another(key, n, count, p=0.2, longest=10):
  """Hides spans in their order, each from its start, until there are enough."""
  place, size, _ = jax.random.split(key, 3)
  shares = np.cumsum(p * (1 - p) ** np.arange(longest))
  hidden = np.zeros(n, bool)
  for start, coin in zip(
    jax.random.randint(place, (n,), 0, n).tolist(),
    jax.random.uniform(size, (n,)).tolist(),
    strict=True,
  ):
    length = 1 + int((coin >= shares / shares[-1]).sum())
    for i in range(start, start + length):
      if hidden.sum() < count:
        hidden[i % n] = True
  return hidden


@pytest.mark.parametrize("count", [1, 5, 17, 30])
def test_the_highest_scores_are_spans_one_after_another(count):
  hidden = np.asarray(select.top(score.spans(KEYS[:50], (40,)), count=count))
  for key, got in zip(KEYS[:50], hidden, strict=True):
    np.testing.assert_array_equal(got, one_after_another(key, 40, count))


def test_lengths_are_geometric_up_to_the_longest():
  p, longest = 0.3, 4
  scores = np.asarray(score.spans(KEYS, (60,), p=p, longest=longest))
  inside = (scores // 1 == scores.max(-1, keepdims=True) // 1).sum(-1)
  expected = p * (1 - p) ** np.arange(longest)
  expected *= len(inside) / expected.sum()
  found = np.bincount(inside, minlength=longest + 1)[1:]
  assert len(found) == longest
  assert ((found - expected) ** 2 / expected).sum() < 16.27  # 0.1 % point, 3 degrees of freedom


def test_the_ends_are_hidden_as_often_as_the_middle():
  hidden = np.asarray(select.top(score.spans(KEYS, (20,)), count=4))
  share = hidden.mean(0)
  np.testing.assert_allclose(share, 0.2, atol=5 * np.sqrt(0.2 * 0.8 / len(KEYS)))


def test_hidden_runs_are_longer_than_those_of_white_noise():
  spans = select.top(score.spans(KEYS[:500], (128,)), ratio=0.15)
  white = select.top(score.white(KEYS[:500], (128,)), ratio=0.15)
  assert lengths(white).mean() == pytest.approx(1 / 0.85, rel=0.03)
  # 3.8 of a span by itself, longer where they meet, shorter where one is cut.
  assert 3 < lengths(spans).mean() < 5
  alone = select.top(score.spans(KEYS[:500], (128,), longest=1), ratio=0.15)
  assert lengths(alone).mean() == pytest.approx(lengths(white).mean(), rel=0.05)


def test_everything_can_be_hidden():
  assert select.top(score.spans(KEYS[:20], (9,)), ratio=1.0).all()
  assert score.spans(KEYS[:3], (0,)).shape == (3, 0)


@pytest.mark.parametrize("options", [dict(p=0.0), dict(p=1.5), dict(longest=0)])
def test_bad_input(options):
  with pytest.raises(BadInput, match="spans want"):
    score.spans(KEYS[:2], (4,), **options)
