"""Sadeq et al. 2022: rates of ids, as the authors' code uses them, and the best of random masks."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from built import Built

from maskjax.task.token_statistics import mutual_information

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden/informask.json").read_text())
N, ROWS, KINDS = 96, 12, 40


def test_given_rates_and_coins_hide_what_the_authors_code_hides(built):
  """The marks at both ends of a text, which it never hides, are not there in ours."""
  ids, seen = np.int32(GOLDEN["ids"]), np.array(GOLDEN["seen"])
  rates = np.zeros(1024, np.float32)
  rates[:40] = 0.05 + 0.4 * (np.arange(40) * 0.618034 % 1)
  coins = (np.arange(ids.size) * 0.754878 % 1).reshape(ids.shape)
  valid = (ids > 0) & (ids < 41)
  wide = lambda x: np.pad(x, ((0, 0), (0, N - x.shape[1])))
  batch = {"tokens": wide(ids), "valid": wide(valid), "position": np.arange(len(ids))}
  batch, rates = jax.device_put((batch, rates))
  task = built("informask", "laptop").task.loss.__self__

  @jax.jit
  def told(rates, batch, coins):
    run = lambda given: task.run(
      {"prepared": {"rates": rates}}, batch, jax.random.key(0), 0, given=given
    )[0]
    chances, drawn = run({}).take("chances", "score")
    return chances, drawn, run({"score": chances - coins}).take("hide.0")[0]

  chances, drawn, shown = map(np.asarray, told(rates, batch, np.float32(wide(coins))))
  want = np.where(seen == 43, 1024, ids)
  np.testing.assert_array_equal(shown[:, : ids.shape[1]], want)
  assert ((chances - drawn >= 0) & (chances - drawn < 1)).all()
  published = GOLDEN["published"]
  assert max(published[word] for word in ("the", "of", "been")) < published["median"] / 3


# Two topics of ten words each, whose words come together, among twenty that come anywhere.
rng = np.random.default_rng(0)
TOPIC = rng.integers(0, 2, (ROWS, N // 12)).repeat(12, axis=1)
ABOUT = rng.random((ROWS, N)) < 0.3
IDS = np.where(ABOUT, 10 * TOPIC + rng.integers(0, 10, (ROWS, N)), rng.integers(20, 40, (ROWS, N)))
IDS = IDS.astype(np.int32)
VALID = np.arange(N) < np.array([N] * (ROWS - 1) + [50])[:, None]


@functools.cache
def counted():
  """Pairs at most five places apart, by a loop."""
  pairs = np.zeros((1024, 1024), np.float32)
  for ids, valid in zip(IDS, VALID, strict=True):
    for i, j in np.argwhere(np.abs(np.subtract.outer(np.arange(N), np.arange(N))) <= 5):
      pairs[ids[i], ids[j]] += i != j and valid[i] and valid[j]
  return pairs


@functools.cache
def prepared():
  """What a run measures before step 0, and the masks of a batch."""

  def change(c):
    c.prepare.pairs.examples = ROWS
    c.prepare.rates.examples = 10 * ROWS  # ten draws an example
    c.model.update(width=8, depth=1, heads=1)

  made = Built("informask", "best", change)
  batch = jax.device_put({"tokens": IDS, "valid": VALID, "position": np.arange(ROWS)})
  first = {"prepared": {"pairs": jnp.zeros((1024, 1024))}}
  variables = made.task.prepare(first, iter([batch] * 11))
  names = ("candidates", "relevance", "hidden")

  @jax.jit
  def drawn(variables, batch):
    return made.task.loss.__self__.run(variables, batch, jax.random.key(0), 3)[0].take(*names)

  found = dict(zip(names, drawn(variables, batch), strict=True))
  return jax.device_get((variables["prepared"], found))


def test_pairs_are_counted_before_the_run():
  np.testing.assert_array_equal(prepared()[0]["pairs"], counted())


def test_the_mask_is_the_most_informative_of_thirty_of_one_size():
  found = prepared()[1]
  masks, worth = found["candidates"], found["relevance"]
  assert masks.shape == (30, ROWS, N)
  assert (masks.sum(-1) == np.round(0.15 * VALID.sum(-1))).all()
  table = np.asarray(jax.jit(lambda pairs: mutual_information(pairs, least=4))(counted()))
  want = np.zeros_like(worth)
  for s, b in np.ndindex(worth.shape):
    gone, seen = masks[s, b] & VALID[b], ~masks[s, b] & VALID[b]
    want[s, b] = table[np.ix_(IDS[b][gone], IDS[b][seen])].sum()
  np.testing.assert_allclose(worth, want, rtol=1e-3, atol=1e-3)
  np.testing.assert_array_equal(found["hidden"][0], masks[want.argmax(0), np.arange(ROWS)])
  assert (want.max(0) > want.mean(0) + want.std(0)).all()


def test_words_that_tell_of_others_have_the_higher_rates():
  rates = prepared()[0]["rates"]
  assert rates[:20].mean() > 1.15 * rates[20:40].mean()
  assert (rates[40:] == np.float32(0.15)).all()
