"""Statistics of tokens: counts, pairs in a window and what follows from them, by loops in numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task import token_statistics as ts
from maskjax.task.base import Task
from maskjax.task.prepare import measure, prepared

KINDS, ROWS, N, EXAMPLES, WINDOW = 7, 4, 9, 10, 5
RECORD = Record("text", (N,), {"train": EXAMPLES}, vocabulary=tuple("abcdefg"))
rng = np.random.default_rng(0)
IDS = rng.integers(0, KINDS, (3, ROWS, N)).astype(np.int32)
VALID = np.arange(N) < rng.integers(4, N + 1, (3, ROWS, 1))
BATCHES = [
  {"tokens": ids, "valid": valid, "position": np.arange(ROWS)}
  for ids, valid in zip(IDS, VALID, strict=True)
]
TEXTS = [ids[valid] for ids, valid in zip(IDS.reshape(-1, N), VALID.reshape(-1, N), strict=True)]


def draw(variables, batch, key):
  """A mask of even ids, and of none that is padded."""
  return (batch["tokens"] % 2 == 0) & batch["valid"]


@functools.cache
def found():
  """All statistics of ten of the twelve examples, the last two of which do not count."""
  task = Task(init=None, loss=None, answers={"chosen": draw})
  made = {
    "counts": ts.token_counts(record=RECORD, examples=EXAMPLES),
    "pairs": ts.pair_counts(record=RECORD, examples=EXAMPLES, window=WINDOW),
    "few": ts.pair_counts(record=RECORD, examples=EXAMPLES, window=WINDOW, ids=4),
    "rates": ts.hidden_rates(task=task, record=RECORD, examples=EXAMPLES),
  }
  return {name: jax.tree.map(np.asarray, measure(s, {}, BATCHES)) for name, s in made.items()}


def pairs_of(texts):
  """Every two places of a text that are at most half a window apart."""
  c = np.zeros((KINDS, KINDS))
  for text in texts:
    for i, u in enumerate(text):
      for j, v in enumerate(text):
        c[u, v] += 0 < abs(i - j) <= WINDOW // 2
  return c


def test_tokens_texts_and_pairs_are_counted_without_padding_and_what_does_not_count():
  texts, made = TEXTS[:EXAMPLES], found()
  each = np.stack([np.bincount(text, minlength=KINDS) for text in texts])
  np.testing.assert_array_equal(made["counts"].tokens, each.sum(0))
  np.testing.assert_array_equal(made["counts"].texts, (each > 0).sum(0))
  assert made["counts"].examples == EXAMPLES
  np.testing.assert_array_equal(made["pairs"], pairs_of(texts))
  np.testing.assert_array_equal(made["few"], pairs_of(texts)[:4, :4])


def test_pairs_are_counted_beyond_the_largest_float_that_takes_a_one():
  made = ts.pair_counts(record=RECORD, examples=EXAMPLES, window=WINDOW)
  alike = {**BATCHES[0], "tokens": np.zeros((ROWS, N), np.int32), "valid": np.ones((ROWS, N), bool)}
  total = jnp.full((KINDS, KINDS), 2.0**24)
  more = made.add(total, {}, alike, jnp.ones(ROWS, bool)) - total
  assert more[0, 0] == ROWS * (N - 1 + N - 2)


def test_rates_are_the_hidden_share_of_each_id():
  np.testing.assert_array_equal(found()["rates"], np.arange(KINDS) % 2 == 0)
  none = ts.hidden_rates(
    task=Task(init=None, loss=None, answers={"chosen": draw}), record=RECORD, examples=1, unseen=0.3
  )
  np.testing.assert_allclose(none.end(none.begin(None)), np.full(KINDS, 0.3))


def test_information_is_that_of_the_counted_shares_and_rare_pairs_have_none():
  c = pairs_of(TEXTS[:EXAMPLES])
  p = c / c.sum()
  with np.errstate(divide="ignore", invalid="ignore"):
    want = np.where(c >= 3, np.log(p / p.sum(1)[:, None] / p.sum(1)), 0)
  got = ts.mutual_information(jnp.asarray(c, jnp.float32), least=3)
  np.testing.assert_allclose(got, want, atol=1e-5)
  assert (got < 0).any()
  positive = ts.mutual_information(jnp.asarray(c, jnp.float32), least=3, positive=True)
  np.testing.assert_allclose(positive, np.maximum(want, 0), atol=1e-5)


def test_relevance_sums_over_what_is_hidden_and_what_is_seen():
  table = rng.normal(size=(5, 5)).astype(np.float32)
  ids, valid = IDS[0], VALID[0]
  hidden = rng.random((3, ROWS, N)) < 0.4
  want = np.zeros((3, ROWS))
  for s, b in np.ndindex(3, ROWS):
    for i, j in np.ndindex(N, N):
      both = valid[b, i] and valid[b, j] and hidden[s, b, i] and not hidden[s, b, j]
      if both and max(ids[b, i], ids[b, j]) < 5:
        want[s, b] += table[ids[b, i], ids[b, j]]
  got = ts.relevance(jnp.asarray(table), jnp.asarray(ids), jnp.asarray(hidden), jnp.asarray(valid))
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_values_of_the_graph_have_a_statistic_before_and_after_it_is_measured():
  """A task that names it when it begins is told that of nothing; one after another, in order."""

  def init(key, batch, prepared=None):
    return {"params": {"told": prepared["counts"].examples}}

  def late(task):
    add = lambda total, variables, batch, counts: variables["prepared"]["counts"].examples
    begin = lambda variables: variables["params"]["told"]
    return ts.Statistic(2, begin, add, lambda total: total)

  counts = ts.token_counts(record=RECORD, examples=EXAMPLES)
  task = prepared(Task(init=init, loss=None), counts=counts, late=late(None))
  first = task.init(jax.random.key(0), BATCHES[0])
  assert first["prepared"]["counts"].examples == first["prepared"]["late"] == 0
  after = task.prepare(first, iter([*BATCHES, *BATCHES]))
  assert after["prepared"]["counts"].examples == after["prepared"]["late"] == EXAMPLES


@pytest.mark.parametrize("window", [0, 2, 4])
def test_a_window_has_a_middle(window):
  with pytest.raises(BadInput, match="odd"):
    ts.pair_counts(record=RECORD, examples=1, window=window)
  assert not bind.needs(ts.pair_counts)["window"]
