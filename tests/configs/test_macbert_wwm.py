"""Cui et al. 2021: n-grams of whole words stand behind similar words; no public code masks so."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from built import Built

from maskjax.task.token_neighbours import nearest_ids, row_cosines

ROWS, N, KINDS, DRAWS = 8, 96, 1024, 200
rng = np.random.default_rng(0)
TOKENS = rng.integers(0, KINDS, (ROWS, N)).astype(np.int32)
TOKENS[:, 5] = 7  # like no other
VALID = np.arange(N) < np.array([N] * (ROWS - 1) + [40])[:, None]
UNIT = np.where(VALID, np.cumsum(rng.random((ROWS, N)) < 0.6, axis=1), -1).astype(np.int32)
UNIT[:, 0] = 0
COSINES = rng.uniform(0.1, 1, (KINDS, KINDS)).astype(np.float32)
COSINES[:, 7] = COSINES[7] = 0
NEAREST = np.where(np.eye(KINDS, dtype=bool), -1, COSINES).argmax(1)


@functools.cache
def drawn():
  """Masks, scores and what is seen, of many steps; what is asked; what is filled in for a mask."""
  task = Built("macbert_wwm", "laptop").task.loss.__self__
  batch = {"tokens": TOKENS, "unit": UNIT, "valid": VALID, "position": np.arange(ROWS)}
  batch, given = jax.device_put((batch, {"prepared": {"cosines": COSINES}}))

  def told(step):
    run, _ = task.run(given, batch, jax.random.key(1), step)
    return run.take("hidden", "score", "hide.0", "asked", "first.masked")

  made = jax.jit(lambda: jax.lax.map(told, np.arange(DRAWS)))()
  hidden, score, seen, asked, filled = map(np.asarray, made)
  return hidden[:, 0], score, seen[:, 0], asked[:, 0], filled


def grams(scores, unit):
  """How many words each n-gram has that the scores tell apart; the last of a text is cut."""
  first = np.flatnonzero(np.diff(unit, prepend=-1) > 0)
  _, sizes = np.unique(np.cumsum(np.diff(scores[first], prepend=-1) != 0), return_counts=True)
  return sizes[:-1]


def test_words_are_whole_and_n_grams_have_their_shares():
  hidden, score, _, asked, _ = drawn()
  sizes = np.concatenate(
    [grams(score[i, j], UNIT[j]) for i in range(DRAWS) for j in range(ROWS - 1)]
  )
  counts = np.bincount(sizes, minlength=5)[1:]
  # Long ones more often hold the end of their text, where they are cut and not counted.
  np.testing.assert_allclose(counts / counts.sum(), [0.4, 0.3, 0.2, 0.1], atol=0.012)
  # Those that are hidden have them too: nearly all, for one of each text is cut.
  last = np.where(hidden, score, np.inf).min(-1, keepdims=True)
  gone = (score > last)[..., None] & (UNIT[:, :, None] == np.arange(N))
  per_word = gone.sum(2) / np.maximum((UNIT[:, :, None] == np.arange(N)).sum(1), 1)
  assert set(np.unique(per_word)) == {0.0, 1.0}
  assert (hidden.sum(-1) == np.round(0.15 * VALID.sum(-1))).all()
  assert not hidden[:, ~VALID].any()
  np.testing.assert_array_equal(asked, hidden)
  # Neighbouring words are hidden together more often than apart: 2 words of 3.
  assert (hidden[:, :-1, 1:] & hidden[:, :-1, :-1]).mean() > 0.07


def test_hidden_words_are_similar_random_or_true_and_never_a_mask_token():
  hidden, _, seen, _, _ = drawn()
  assert seen.max() < KINDS
  tokens = np.broadcast_to(TOKENS, seen.shape)
  np.testing.assert_array_equal(seen[~hidden], tokens[~hidden])
  like, true = seen == NEAREST[TOKENS], seen == tokens
  found = hidden & (TOKENS != 7)
  shares = [like[found].mean(), true[found].mean()]
  np.testing.assert_allclose(shares, [0.8, 0.1], atol=0.01)
  # A word has one fate: of hidden neighbours in one word both are similar or none.
  both = (found[:, :, 1:] & found[:, :, :-1]) & (UNIT[:, 1:] == UNIT[:, :-1])
  assert (like[:, :, 1:] == like[:, :, :-1])[both].mean() > 0.995
  across = (found[:, :, 1:] & found[:, :, :-1]) & (UNIT[:, 1:] != UNIT[:, :-1])
  assert (like[:, :, 1:] == like[:, :, :-1])[across].mean() < 0.75
  alone = hidden & (TOKENS == 7)
  assert alone.sum() > 20
  assert len(np.unique(seen[alone])) > 15  # random ones


def test_what_is_filled_in_stands_behind_the_nearest_words():
  hidden, _, _, _, filled = drawn()
  want = np.where(hidden, np.where(TOKENS == 7, 0, NEAREST[TOKENS]), TOKENS)
  np.testing.assert_array_equal(filled, want)


def test_neighbours_are_those_of_the_largest_cosine():
  x = rng.normal(size=(6, 3)).astype(np.float32)
  unit = x / np.linalg.norm(x, axis=1, keepdims=True)
  cosines = unit @ unit.T
  np.fill_diagonal(cosines, -2)
  want = np.where(cosines.max(1) > 0, cosines.argmax(1), -1)
  np.testing.assert_array_equal(nearest_ids(row_cosines(jnp.asarray(x)), 8), [*want, -1, -1])
