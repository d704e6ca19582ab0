"""Cosines of context vectors, by loops in numpy over words of two kinds, each in its contexts."""

import itertools

import jax.numpy as jnp
import numpy as np

from maskjax.record import Record
from maskjax.task.prepare import measure
from maskjax.task.token_neighbours import context_cosines, row_cosines

KINDS, ROWS, N = 10, 16, 40
RECORD = Record("text", (N,), {"train": ROWS}, vocabulary=tuple("abcdefghij"))
rng = np.random.default_rng(0)
# 0 to 3 stand beside 6 and 7, 4 and 5 beside 8; 9 does not occur.
WORD = rng.integers(0, 6, (ROWS, N // 2))
BESIDE = np.where(WORD < 4, rng.integers(6, 8, WORD.shape), 8)
IDS = np.stack([WORD, BESIDE], -1).reshape(ROWS, N).astype(np.int32)
BATCH = {"tokens": IDS, "valid": np.ones((ROWS, N), bool), "position": np.arange(ROWS)}


def oracle(ids, least):
  """Cosines of the rows of the positive information of neighbours."""
  c = np.zeros((ids, ids))
  for text in IDS:
    for u, v in itertools.pairwise(text):
      if max(u, v) < ids:
        c[[u, v], [v, u]] += 1  # never of two alike
  p = c / c.sum()
  with np.errstate(divide="ignore", invalid="ignore"):
    m = np.where(c >= least, np.maximum(np.log(p / p.sum(1)[:, None] / p.sum(1)), 0), 0)
    unit = np.nan_to_num(m / np.linalg.norm(m, axis=1, keepdims=True))
  return unit @ unit.T


def test_words_of_alike_contexts_are_alike():
  made = context_cosines(record=RECORD, examples=ROWS, window=3, least=2)
  found = np.asarray(measure(made, {}, [BATCH]))
  np.testing.assert_allclose(found, oracle(KINDS, 2), atol=1e-5)
  assert found[0, 1:4].min() > 0.5 > 0.1 > found[0, 4:6].max()
  assert found[4, 5] > 0.5
  assert not found[9].any()
  few = context_cosines(record=RECORD, examples=ROWS, window=3, ids=7)
  np.testing.assert_allclose(measure(few, {}, [BATCH]), oracle(7, 1), atol=1e-5)


def test_cosines_are_not_of_the_length():
  x = rng.normal(size=(5, 3)).astype(np.float32)
  scaled = row_cosines(jnp.asarray(x * np.array([1, 9, 1e-3, 2, 5], np.float32)[:, None]))
  np.testing.assert_allclose(scaled, row_cosines(jnp.asarray(x)), atol=1e-5)
  np.testing.assert_allclose(np.diag(scaled), 1, atol=1e-6)
