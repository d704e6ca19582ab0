"""Long et al. 2022: tokens are hidden by their share of the weight of their text; no code exists.

The oracle is numpy's: chances from the counts of eight texts, and draws without replacement.
"""

import functools

import jax
import numpy as np
from built import Built

from maskjax.task.token_statistics import TokenCounts

ROWS, N, KINDS, DRAWS = 8, 96, 200, 400
rng = np.random.default_rng(0)
# Frequent ids come first, as in any language; the last text ends early.
ZIPF = 1 / np.arange(1, KINDS + 1)
IDS = rng.choice(KINDS, (ROWS, N), p=ZIPF / ZIPF.sum()).astype(np.int32)
VALID = np.arange(N) < np.array([N] * (ROWS - 1) + [40])[:, None]
EACH = np.stack([np.bincount(x[v], minlength=1024) for x, v in zip(IDS, VALID, strict=True)])
# Of a corpus of 800 texts, where what is rare in these eight is rarer still.
IN = 800.0 * ((EACH > 0).mean(0) ** 2)
COUNTS = TokenCounts(100.0 * EACH.sum(0), IN, np.float32(800))


@functools.cache
def drawn(preset):
  """The logarithm of all chances, and the masks of many steps; the network is not called."""
  made = Built("rom", preset)
  prepared = jax.device_put(jax.tree.map(np.float32, {"token_counts": COUNTS}))
  batch = jax.device_put({"tokens": IDS, "valid": VALID, "position": np.arange(ROWS)})

  def told(step):
    run, _ = made.task.loss.__self__.run({"prepared": prepared}, batch, jax.random.key(1), step)
    return run.take("log_chances", "hidden")

  chances, hidden = jax.jit(lambda: jax.lax.map(told, np.arange(DRAWS)))()
  return np.exp(np.asarray(chances[0], np.float64)), np.asarray(hidden)[:, 0]


def oracle():
  """BM25 without a norm of length, of each token as a share of its text's."""
  f = np.take_along_axis(EACH, IDS, axis=1)
  n, d = COUNTS.examples, COUNTS.texts[IDS]
  weight = np.where(VALID, np.log1p((n - d + 0.5) / (d + 0.5)) * f / (f + 1.2), 0)
  return weight / weight.sum(-1, keepdims=True)


def test_chances_are_shares_of_each_texts_own_weight():
  np.testing.assert_allclose(drawn("laptop")[0], oracle(), rtol=1e-4, atol=1e-9)


def test_the_share_is_exact_and_frequencies_are_those_of_draws_without_replacement():
  hidden = drawn("laptop")[1]
  assert (hidden.sum(-1) == np.round(0.15 * VALID.sum(-1))).all()
  assert not hidden[:, ~VALID].any()
  p, often = oracle(), np.zeros((ROWS, N))
  for row in range(ROWS):
    for _ in range(DRAWS):
      count = round(0.15 * VALID[row].sum())
      often[row, rng.choice(N, count, replace=False, p=p[row])] += 1 / DRAWS
  seen = hidden.mean(0)[VALID]
  # Two samples of 400 draws differ by 0.025; uniform masks are all alike.
  assert np.sqrt(np.mean((seen - often[VALID]) ** 2)) < 0.035
  assert often[VALID].std() > 0.08
  assert np.corrcoef(seen, often[VALID])[0, 1] > 0.95


def test_any_but_stop_words_are_hidden_alike_in_the_other_arm():
  chances, hidden = drawn("content")
  stop = (COUNTS.texts[IDS] > 0.1 * COUNTS.examples) | ~VALID
  assert 0.2 < stop.mean() < 0.9
  enough = (~stop).sum(-1) >= np.round(0.15 * VALID.sum(-1))
  assert enough.any()
  assert not hidden[:, enough][:, stop[enough]].any()
  np.testing.assert_allclose(chances[~stop], (1 / (~stop).sum(-1, keepdims=True) * ~stop)[~stop])
