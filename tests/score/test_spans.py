"""Spans of random lengths: against one after another, and what plain noise would not give."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import score, select
from maskjax.errors import BadInput
from maskjax.keys import keys

DRAWS, COUNTS = 4000, (1, 5, 17, 30)


@functools.cache
def drawn():
  """Scores, masks and starts of what the tests below ask for, of one program."""

  def of_all(key):
    each = keys(key, DRAWS)
    few, some = each[:50], each[:500]
    line = score.spans(few, (40,))
    longer = [
      score.spans(some, (128,)),
      score.uniform(some, (128,)),
      score.spans(some, (128,), longest=1),
    ]
    places, sizes = jnp.unstack(jax.vmap(jax.random.split)(few), axis=1)
    starts = jax.vmap(lambda k: jax.random.permutation(k, 40))(places)
    coins = jax.vmap(lambda k: jax.random.uniform(k, (40,)))(sizes)
    return {
      "spans": {count: select.top(line, count=count) for count in COUNTS},
      "draws": (starts, coins),
      "lengths": score.spans(each, (60,), p=0.3, longest=4),
      "runs": select.top(jnp.stack(longer), ratio=0.15),
      "many": select.top(longer[0], count=52),
      "whole": select.top(score.spans(each[:20], (9,)), ratio=1.0),
      "none": score.spans(each[:3], (0,)),
    }

  return jax.device_get(jax.jit(of_all)(jax.random.key(0)))


def lengths(hidden):
  """The lengths of all runs of hidden positions."""
  padded = np.pad(np.asarray(hidden, int), ((0, 0), (1, 1)))
  change = np.diff(padded, axis=1)
  return np.argwhere(change == -1)[:, 1] - np.argwhere(change == 1)[:, 1]


def one_after_another(starts, coins, count, p=0.2, longest=10):
  """Hides spans in their order, each from its start if that is visible, until there are enough."""
  n = len(starts)
  shares = np.cumsum(p * (1 - p) ** np.arange(longest))
  hidden = np.zeros(n, bool)
  for start, coin in zip(starts.tolist(), coins.tolist(), strict=True):
    length = 1 + int((coin >= shares / shares[-1]).sum())
    for i in range(start, min(start + length, n)) if not hidden[start] else ():
      if hidden.sum() < count:
        hidden[i] = True
  return hidden


@pytest.mark.parametrize("count", COUNTS)
def test_the_highest_scores_are_spans_one_after_another(count):
  for got, *draws in zip(drawn()["spans"][count], *drawn()["draws"], strict=True):
    np.testing.assert_array_equal(got, one_after_another(*draws, count))


def test_lengths_are_geometric_up_to_the_longest():
  p, longest = 0.3, 4
  scores = drawn()["lengths"]
  # Of the first spans those that no end cuts.
  first = scores // 1 == scores.max(-1, keepdims=True) // 1
  inside = first.sum(-1)[first.argmax(-1) <= scores.shape[-1] - longest]
  expected = p * (1 - p) ** np.arange(longest)
  expected *= len(inside) / expected.sum()
  found = np.bincount(inside, minlength=longest + 1)[1:]
  assert len(found) == longest
  assert ((found - expected) ** 2 / expected).sum() < 16.27  # 0.1 % point, 3 degrees of freedom


def spanbert(rng, n, share, p=0.2, longest=10):
  """The procedure of the authors' code: a start anew until it is visible, then to the right."""
  shares, hidden = p * (1 - p) ** np.arange(longest), set()
  while len(hidden) < np.ceil(share * n):
    length = rng.choice(np.arange(1, longest + 1), p=shares / shares.sum())
    start = rng.choice(n)
    for i in range(start, min(start + length, n)) if start not in hidden else ():
      if len(hidden) < np.ceil(share * n):
        hidden.add(i)
  return np.isin(np.arange(n), list(hidden))


def test_runs_are_as_long_as_those_of_the_authors_procedure():
  """Starts anywhere, hidden or not, make them a tenth longer, and an end that wraps hides more."""
  rng, many = np.random.default_rng(0), drawn()["many"]
  theirs = np.stack([spanbert(rng, 128, 0.4) for _ in range(500)])
  assert lengths(many).mean() == pytest.approx(lengths(theirs).mean(), rel=0.03)
  spread = 4 * np.sqrt(2 * 0.25 / len(many))
  assert np.abs(many.mean(0) - theirs.mean(0)).max() < spread
  assert many[:, 0].mean() < 0.3 < many[:, 20:].mean()


def test_hidden_runs_are_longer_than_those_of_white_noise():
  spans, white, alone = drawn()["runs"]
  assert lengths(white).mean() == pytest.approx(1 / 0.85, rel=0.03)
  # 3.8 of a span by itself, longer where they meet, shorter where one is cut.
  assert 3 < lengths(spans).mean() < 5
  assert lengths(alone).mean() == pytest.approx(lengths(white).mean(), rel=0.05)


def test_everything_can_be_hidden():
  assert drawn()["whole"].all()
  assert drawn()["none"].shape == (3, 0)


@pytest.mark.parametrize("options", [dict(p=0.0), dict(p=1.5), dict(longest=0)])
def test_bad_input(options):
  with pytest.raises(BadInput, match="spans want"):
    score.spans(jax.random.key(0), (4,), **options)
