"""Wilf et al. 2023: words are hidden by the rank of their likeness to a domain's anchors."""

import functools
import json
import pathlib

import jax
import numpy as np
from built import Built

from maskjax import lab
from maskjax.task.token_statistics import TokenCounts

CONFIG = lab.base("text_mlm/difference_masking")
GOLDEN = pathlib.Path(__file__).parents[1] / "golden/difference_masking.json"
N, KINDS, DRAWS, ANCHORS, LENGTHS = 96, 1024, 400, 20, (12, 20, 7)
rng = np.random.default_rng(0)


def golden_texts():
  """The texts of make_difference_masking.py: units and similarities of their pieces."""
  at = np.cos((1 + np.arange(65))[:, None] * (1 + np.arange(6)) * 0.7548777)
  at /= np.linalg.norm(at, axis=1, keepdims=True)
  near = (at[:60] @ at[60:].T).max(1)
  for text, length in enumerate(LENGTHS):
    words = (7 * np.arange(length) + 11 * text) % 60
    sizes = 1 + words % 3
    yield np.repeat(np.arange(length), sizes), np.repeat(near[words], sizes)


def test_chances_are_those_of_the_authors_code():
  """Of given similarities, without even chances mixed in and with them."""
  golden, units, similar = json.loads(GOLDEN.read_text()), [], []
  for unit, near in golden_texts():
    units.append(np.pad(unit, (0, N - len(unit)), constant_values=-1))
    similar.append(np.pad(near, (0, N - len(near))))
  unit, near = np.array(units, np.int32), np.array(similar, np.float32)
  batch = {"tokens": unit * 0, "unit": unit, "valid": unit >= 0, "position": np.arange(3)}
  batch["weight"] = near

  def chances(alpha):
    def change(c):
      c.let.similarity, c.let.weights.alpha = "batch.weight", alpha

    task = Built("difference_masking", "laptop", change).task.loss.__self__
    given = {"prepared": prepared()}
    of = lambda b: task.run(given, b, jax.random.key(0), 0)[0].take("log_chances")
    return np.exp(np.asarray(jax.jit(of)(batch)))

  for alpha, kind in ((1.0, "plain"), (0.3, "mixed")):
    found = chances(alpha)
    for row, text in enumerate(golden):
      np.testing.assert_allclose(found[row, : len(text[kind])], text[kind], rtol=2e-5)
      assert not found[row, len(text[kind]) :].any()


# Ids 0 to 9 are stop words, 10 to 29 are the domain's own, 30 to 49 are as frequent elsewhere.
OFTEN, TEXTS = np.zeros(KINDS), np.full(KINDS, 20)
OFTEN[:10], OFTEN[10:30], OFTEN[30:50], TEXTS[:10] = 500, 20 + np.arange(20), 60, 200
ELSEWHERE = np.zeros(KINDS)
ELSEWHERE[:10], ELSEWHERE[10:30], ELSEWHERE[30:50] = 1000, 2, 200
COSINES = np.zeros((KINDS, KINDS))
COSINES[:50, :50] = np.corrcoef(rng.normal(size=(50, 8))).astype(np.float32)
np.fill_diagonal(COSINES, 1)
TOKENS = rng.integers(0, 50, (8, N)).astype(np.int32)
VALID = np.arange(N) < np.array([N] * 7 + [40])[:, None]
UNIT = np.where(VALID, np.cumsum(rng.random((8, N)) < 0.7, axis=1), -1).astype(np.int32)


def prepared():
  """What a run measures before step 0."""
  domain = TokenCounts(OFTEN, TEXTS, np.float32(400))
  made = {"domain": domain, "general": TokenCounts(ELSEWHERE, ELSEWHERE, np.float32(900))}
  return jax.device_put(jax.tree.map(np.float32, {**made, "cosines": COSINES}))


@functools.cache
def drawn():
  """The likeness of ids to anchors, chances, and the masks of many steps."""
  task = Built("difference_masking", "laptop").task.loss.__self__
  batch = {"tokens": TOKENS, "unit": UNIT, "valid": VALID, "position": np.arange(8)}
  batch, given = jax.device_put(batch), {"prepared": prepared()}

  def told(step):
    run, _ = task.run(given, batch, jax.random.key(1), step)
    return run.take("nearness", "log_chances", "hidden")

  near, chances, hidden = jax.jit(lambda: jax.lax.map(told, np.arange(DRAWS)))()
  return np.asarray(near[0]), np.exp(np.asarray(chances[0], np.float64)), np.asarray(hidden)[:, 0]


def test_anchors_are_frequent_in_the_domain_and_rare_elsewhere_and_no_stop_words():
  near = drawn()[0]
  np.testing.assert_allclose(near[:50], COSINES[:50, 10:30].max(1), rtol=1e-5)
  # By frequency times rarity among the domain's own texts these would not be the first.
  tf_idf = OFTEN * np.log(400 / TEXTS)
  assert not {*np.argsort(-tf_idf)[:ANCHORS]} & {*range(10, 30)}


@functools.cache
def oracle():
  """Words by their most similar piece, from the number of words down to 1."""
  near, p = COSINES[:, 10:30].max(1)[TOKENS], np.zeros((8, N))
  for row in range(8):
    units = np.unique(UNIT[row][VALID[row]])
    best = [near[row][UNIT[row] == u].max() for u in units]
    for rank, i in enumerate(np.argsort(-np.array(best), kind="stable")):
      p[row, UNIT[row] == units[i]] = len(units) - rank
  return p / p.sum(1, keepdims=True)


def test_hidden_as_often_as_draws_without_replacement_by_the_ranks_say():
  _, chances, hidden = drawn()
  np.testing.assert_allclose(chances, oracle(), rtol=1e-4, atol=1e-9)
  assert (hidden.sum(-1) == np.round(0.15 * VALID.sum(-1))).all()
  assert not hidden[:, ~VALID].any()
  often = np.zeros((8, N))
  for row in range(8):
    count = round(0.15 * VALID[row].sum())
    for _ in range(DRAWS):
      often[row, rng.choice(N, count, replace=False, p=oracle()[row])] += 1 / DRAWS
  seen = hidden.mean(0)[VALID]
  # Two samples of 400 draws differ by 0.025; uniform masks are all alike.
  assert np.sqrt(np.mean((seen - often[VALID]) ** 2)) < 0.035
  assert often[VALID].std() > 0.07
  assert np.corrcoef(seen, oracle()[VALID])[0, 1] > 0.8


def test_the_general_text_is_another_than_the_domains(built):
  config, small = built("difference_masking").config, built("difference_masking", "laptop").config
  assert "path" in config["prepare"]["general"]["data"]
  general = small["prepare"]["general"]["data"]["classes"]
  assert not {*general} & {*small["data"]["classes"]}
  assert general == tuple(CONFIG.get_config("laptop").stages.general.data.classes)


def test_all_but_norms_decays_as_in_the_public_code(built, undecayed, decays_of_scales):
  made = built("difference_masking")
  assert undecayed(made) == []
  scales = decays_of_scales(made)
  assert scales
  assert not any(scales)
