"""Prompts read both ways within their blocks, answers from left to right: what sees what."""

import functools
import itertools
import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import hide, units
from maskjax.errors import BadInput
from maskjax.generate import autoregressive
from maskjax.hide.pairs import dense
from maskjax.model import text_transformer
from maskjax.record import Record
from maskjax.task import next_token
from maskjax.task.next_token import blocks_read, shifted

ATTENTION = sys.modules["maskjax.model.attention"]
GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "mas_attention.json"
CASES = {case["template"]: case for case in json.loads(GOLDEN.read_text())}
KEY, N = jax.random.key(0), 9
MODEL = functools.partial(text_transformer, width=16, depth=2, heads=2, mlp=24, causal=True)
# Blocks of three and two tokens and an answer; a short prompt; one of a block; padding.
ASKED = jnp.arange(N) >= jnp.array([[5], [2], [6], [4]])
BLOCKS = jnp.array([[0] * 3 + [1] * 2 + [2] * 4, [0] + [1] * 8, [0] * 9, [0] * 2 + [1] * 7])
VALID = jnp.arange(N) < jnp.array([[9], [9], [9], [6]])


def build(n=N, vocabulary="abcd", mask="blocks", model=MODEL, **words):
  """A tiny task, a batch of four windows, and variables that are far from uniform."""
  record = Record("text", (n,), {"train": 4}, vocabulary=tuple(vocabulary))
  words = {"generate": functools.partial(autoregressive, temperature=0.0), **words}
  words |= {"hide": getattr(hide, mask)} if mask else {}
  task = next_token(record=record, model=model, **words)
  tokens = jax.random.randint(jax.random.key(1), (4, n), 0, len(vocabulary))
  batch = {"tokens": tokens, "valid": VALID[:, :n], "position": jnp.arange(4)}
  batch |= {"asked": ASKED[:, :n], "blocks": BLOCKS[:, :n]}
  variables = jax.jit(task.init)(KEY, batch)
  return task, batch, jax.tree.map(lambda x: 4 * x, variables)


def nats(task, batch, variables):
  return np.asarray(jax.jit(task.nats, static_argnums=3)(variables, batch, KEY, 1))


def seen_by_rule(batch):
  """Which position reads which, from the paper's words, pair by pair."""
  asked, blocks = np.asarray(batch["asked"] & batch["valid"]), np.asarray(batch["blocks"])
  seen = np.zeros((len(asked), N, N), bool)
  for b, q, k in np.ndindex(seen.shape):
    # At a position the token before it is read; the begin token counts to the first block.
    both = all(i == 0 or not asked[b, i - 1] for i in (q, k))
    same = blocks[b, max(q - 1, 0)] == blocks[b, max(k - 1, 0)]
    seen[b, q, k] = (k <= q or (both and same)) and (k == 0 or batch["valid"][b, k - 1])
  return seen


def referred(task, batch, variables):
  """Logits by a mask of all pairs that is kept, in place of a predicate."""
  ids, valid = shifted(batch, 4)
  seen = jnp.asarray(seen_by_rule(batch))
  kept = lambda pair: (
    ~jnp.take_along_axis(
      jnp.take_along_axis(seen, jnp.broadcast_to(pair.query, (4, pair.query.shape[0], N)), 1),
      jnp.broadcast_to(pair.key, (4, pair.query.shape[0], pair.key.shape[1])),
      2,
    )
  )
  return np.asarray(task.network.apply(variables, ids, valid, pairs=kept))


def logits_of(task, batch, variables):
  ids, valid = shifted(batch, 4)
  blocks = blocks_read(batch)
  return np.asarray(task.network.apply(variables, ids, valid, blocks, pairs=hide.blocks()))


@pytest.mark.parametrize("name", CASES)
def test_pairs_attend_as_in_the_public_code(name):
  case = CASES[name]
  valid, parts, alone = (np.array(case[key]) for key in ("valid", "parts", "alone"))
  ids = units.one_by_one(jnp.asarray(parts), jnp.asarray(alone == 1))
  seen = ~np.asarray(dense(hide.blocks(), len(parts), ids)) & (valid == 1)
  public = np.array([[c == "1" for c in row] for row in case["attends"]])
  np.testing.assert_array_equal(seen[valid == 1], public[valid == 1])
  assert (seen & np.asarray(dense(hide.causal(), len(parts)))).any()


def test_weights_go_where_the_paper_says_and_nowhere_else():
  task, batch, variables = build()
  variables = jax.tree.map(lambda x: x / 4, variables)  # no weight so small that it is zero
  weights = np.asarray(jax.jit(task.attention)(variables, batch))
  assert weights.shape == (4, 2, 2, N, N)
  seen = np.broadcast_to(seen_by_rule(batch)[:, None, None], weights.shape)
  np.testing.assert_array_equal(weights > 0, seen)
  np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
  plain, _, _ = build(mask="causal")
  assert not np.triu(np.asarray(plain.attention(variables, batch)), 1).any()


@pytest.mark.parametrize("edge", [256, 4, 2])
def test_logits_and_slopes_equal_those_of_the_dense_mask(edge, monkeypatch):
  task, batch, variables = build()
  expected = referred(task, batch, variables)
  monkeypatch.setattr(ATTENTION, "BLOCK", edge)
  scale = np.abs(expected).max()
  np.testing.assert_allclose(logits_of(task, batch, variables), expected, atol=1e-5 * scale)
  slope = jax.grad(lambda v: task.nats(v, batch, KEY, 1).sum())(variables)
  monkeypatch.setattr(ATTENTION, "BLOCK", 256)
  whole = jax.grad(lambda v: task.nats(v, batch, KEY, 1).sum())(variables)
  for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(whole), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * float(jnp.abs(b).max()) + 1e-6)


def test_what_is_read_early_in_a_block_depends_on_the_end_of_the_block_only_with_blocks():
  """The point of the paper: plain causal attention fails this."""
  for mask, looks in (("blocks", True), ("causal", False)):
    task, batch, variables = build(mask=mask)
    layer = lambda tokens, task=task, batch=batch, variables=variables: np.asarray(
      task.attention(variables, {**batch, "tokens": tokens})
    )
    changed = batch["tokens"].at[0, 2].set((batch["tokens"][0, 2] + 1) % 4)
    moved = (layer(changed) != layer(batch["tokens"]))[0, 1].any((0, 2))
    assert moved[1] == looks  # reads token 0, of the block of token 2
    assert moved[3:].all()


def test_probabilities_of_all_answers_to_a_prompt_add_up_to_one():
  """They do only if no answer is predicted from itself or a later one, and prompts cost nothing."""
  n, vocabulary = 5, "ab"
  task, _, variables = build(n, vocabulary)
  for prompt in ((0, 1), (1, 1)):
    tokens = jnp.array([(*prompt, *rest) for rest in itertools.product(range(2), repeat=3)])
    ones = jnp.ones(tokens.shape, bool)
    batch = {"tokens": tokens, "valid": ones, "asked": ones & (jnp.arange(n) > 1)}
    p = np.exp(-nats(task, batch, variables).astype(np.float64))
    assert p.max() > 1.5 * p.min()
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-5)


def test_the_loss_counts_answers_alone():
  task, batch, variables = build()
  term = jax.jit(task.loss)(variables, batch, KEY, 0)[0]["next"]
  assert int(term.count) == 4 + 7 + 3 + 2
  np.testing.assert_allclose(term.sum, nats(task, batch, variables).sum(), rtol=1e-5)
  np.testing.assert_array_equal(
    task.views(variables, batch, KEY)["hidden"], batch["valid"] & batch["asked"]
  )


def test_where_all_is_asked_blocks_are_causal_attention():
  task, batch, variables = build()
  plain, *_ = build(mask=None)
  every = {name: batch[name] for name in ("tokens", "valid", "position")}
  np.testing.assert_allclose(nats(task, every, variables), nats(plain, every, variables), rtol=1e-6)
  assert (nats(task, batch, variables) != nats(plain, batch, variables)).all()
  np.testing.assert_array_equal(
    nats(build(mask="causal")[0], batch, variables), nats(plain, batch, variables)
  )


def test_padding_changes_neither_loss_nor_slope_and_equals_a_shorter_window():
  task, batch, variables = build()
  slope = jax.jit(jax.grad(lambda v, b: task.nats(v, b, KEY, 1).sum()))
  fill = lambda value: {**batch, "tokens": jnp.where(batch["valid"], batch["tokens"], value)}
  for a, b in zip(*(jax.tree.leaves(slope(variables, fill(v))) for v in (0, 3)), strict=True):
    np.testing.assert_array_equal(a, b)
  short = {name: x[3:, :6] for name, x in batch.items() if name != "position"}
  np.testing.assert_allclose(
    nats(task, short, variables), nats(task, batch, variables)[3:], rtol=1e-5
  )


@pytest.mark.parametrize("edge", [256, 4])
def test_a_prompt_at_once_and_an_answer_token_by_token_give_the_logits_of_the_whole(
  edge, monkeypatch
):
  monkeypatch.setattr(ATTENTION, "BLOCK", edge)
  task, batch, variables = build()
  batch = {**batch, "valid": jnp.ones_like(batch["valid"])}
  whole, ids, blocks = logits_of(task, batch, variables), shifted(batch, 4)[0], blocks_read(batch)
  apply = functools.partial(task.network.apply, pairs=hide.blocks(), mutable=["cache"])
  step = jax.jit(
    lambda cache, ids, start: apply({**variables, **cache}, ids, None, blocks, start=start)
  )
  # What is not yet written is read as token 0 while the prompt is.
  unwritten = {**batch, "tokens": jnp.where(ASKED, 0, batch["tokens"])}
  logits, cache = step({}, shifted(unwritten, 4)[0], 0)
  largest = np.abs(whole).max()
  prompt = ~np.asarray(ASKED)
  np.testing.assert_allclose(logits[prompt], whole[prompt], atol=1e-5 * largest)
  for i in range(2, N):
    logits, cache = step(cache, ids[:, i : i + 1], i)
    np.testing.assert_allclose(logits[:, 0], whole[:, i], atol=1e-5 * largest)


@pytest.mark.parametrize("told", [False, True])
def test_what_is_written_is_the_likeliest_by_the_whole_pass(told):
  task, batch, variables = build()
  hidden, tokens = ASKED, batch["tokens"]
  blocks = {"blocks": batch["blocks"]} if told else {}
  out = jax.jit(task.generate)(variables, jax.random.split(KEY, 4), tokens, hidden, **blocks)
  blocks = blocks or {"blocks": jnp.zeros_like(tokens)}
  for i in range(2, N):
    there = {"tokens": tokens, "valid": jnp.ones_like(hidden), "asked": hidden, **blocks}
    best = logits_of(task, there, variables)[:, i].argmax(-1)
    tokens = tokens.at[:, i].set(jnp.where(hidden[:, i], best, tokens[:, i]))
  np.testing.assert_array_equal(out["tokens"], tokens)


def test_features_know_every_valid_token_of_a_prompt():
  task, batch, variables = build()
  mean = jax.jit(lambda b: task.features(variables, b)["mean"])
  before = np.asarray(mean(batch))
  for i in range(N):
    tokens = batch["tokens"].at[:, i].set((batch["tokens"][:, i] + 1) % 4)
    changed = (np.asarray(mean({**batch, "tokens": tokens})) != before).any(-1)
    np.testing.assert_array_equal(changed, np.asarray(batch["valid"][:, i]))


def test_what_cannot_be_is_refused():
  shows = functools.partial(hide.window, 2)
  with pytest.raises(BadInput, match="shows an answer what comes after"):
    next_token(record=Record("text", (4,), {}, vocabulary=("a",)), model=MODEL, hide=shows)
  task, batch, variables = build()
  with pytest.raises(BadInput, match="no blocks in packed documents"):
    task.nats(variables, {**batch, "segments": batch["blocks"]}, KEY, 1)
