"""Prompts read both ways within their blocks, answers from left to right: what sees what."""

import functools
import itertools
import json
import pathlib
import runpy
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_text as toy

from maskjax import hide, units
from maskjax.errors import BadInput
from maskjax.hide.pairs import dense
from maskjax.record import Record
from maskjax.task import blocks_read, shifted

ATTENTION = sys.modules["maskjax.model.attention"]
HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "mas_attention.json"
filled = runpy.run_path(str(HERE / "toy_weights.py"))["filled"]
close = runpy.run_path(str(HERE.parent / "closeness.py"))["close"]
CASES = {case["template"]: case for case in json.loads(GOLDEN.read_text())}
KEY, N = jax.random.key(0), 9
MODEL = dict(width=16, depth=1, heads=2, mlp=24)
DEEP = {**MODEL, "depth": 2}
# Six products a layer and the logits.
SUMS, DEEP_SUMS = (dict(depth=6 * layers + 1, terms=24, axis=None) for layers in (1, 2))
# Blocks of three and two tokens and an answer; a short prompt; one of a block; padding.
ASKED = np.arange(N) >= np.array([[5], [2], [6], [4]])
BLOCKS = np.array([[0] * 3 + [1] * 2 + [2] * 4, [0] + [1] * 8, [0] * 9, [0] * 2 + [1] * 7])
VALID = np.arange(N) < np.array([[9], [9], [9], [6]])


def make(mask="hide.blocks", model=MODEL, **pairs):
  """A tiny task, of four tokens; without a mask of pairs that of the network."""
  record = Record("text", (N,), {"train": 4}, vocabulary=tuple("abcd"))
  fields = dict(answers__generate__temperature=0.0)
  fields |= dict(let__pairs=dict(fn=mask, **pairs)) if mask else {}
  return toy.task_of("mas_attention" if mask else "causal_lm", record, model, **fields)


def windows():
  """A batch of four windows."""
  batch = {"tokens": np.random.default_rng(1).integers(0, 4, (4, N)), "position": np.arange(4)}
  batch |= {"valid": VALID, "asked": ASKED, "blocks": BLOCKS}
  return jax.device_put(batch)


def drawn(task, scale=0.4):
  """Variables that are far from uniform."""
  return filled(jax.eval_shape(task.init, KEY, windows()), scale)


def seen_by_rule():
  """Which position reads which, from the paper's words, pair by pair."""
  asked, seen = ASKED & VALID, np.zeros((4, N, N), bool)
  for b, q, k in np.ndindex(seen.shape):
    # At a position the token before it is read; the begin token counts to the first block.
    both = all(i == 0 or not asked[b, i - 1] for i in (q, k))
    same = BLOCKS[b, max(q - 1, 0)] == BLOCKS[b, max(k - 1, 0)]
    seen[b, q, k] = (k <= q or (both and same)) and (k == 0 or VALID[b, k - 1])
  return seen


def referred(task, batch, variables):
  """Logits by a mask of all pairs that is kept, in place of a predicate."""
  ids, valid = shifted(batch, 4)
  seen = jnp.asarray(seen_by_rule())
  kept = lambda pair: (
    ~jnp.take_along_axis(
      jnp.take_along_axis(seen, jnp.broadcast_to(pair.query, (4, pair.query.shape[0], N)), 1),
      jnp.broadcast_to(pair.key, (4, pair.query.shape[0], pair.key.shape[1])),
      2,
    )
  )
  return task.network.apply(variables, ids, valid, pairs=kept)


def logits_of(task, batch, variables):
  ids, valid = shifted(batch, 4)
  blocks = blocks_read(batch)
  return task.network.apply(variables, ids, valid, blocks, pairs=hide.blocks())


@functools.cache
def attended():
  """What attends to what in the cases of the public code."""

  def run(cases):
    return {
      name: dense(hide.blocks(), len(parts), units.one_by_one(parts, alone == 1))
      for name, (parts, alone) in cases.items()
    }

  cases = {k: tuple(np.array(case[x]) for x in ("parts", "alone")) for k, case in CASES.items()}
  return jax.tree.map(np.asarray, jax.jit(run)(cases))


@pytest.mark.parametrize("name", CASES)
def test_pairs_attend_as_in_the_public_code(name):
  case = CASES[name]
  valid = np.array(case["valid"])
  seen = ~attended()[name] & (valid == 1)
  public = np.array([[c == "1" for c in row] for row in case["attends"]])
  np.testing.assert_array_equal(seen[valid == 1], public[valid == 1])
  # Not all of it is causal.
  assert np.triu(seen, 1).any()


@functools.cache
def weights():
  """Attention of two layers under both masks, then with a token of the first block changed."""
  tasks, batch = [make(mask, DEEP) for mask in ("hide.blocks", "hide.causal")], windows()
  other = np.array(batch["tokens"])
  other[0, 2] = (other[0, 2] + 1) % 4

  @jax.jit
  def run(variables, tokens):
    see = lambda task: (
      lambda tokens: task.answers["attention"](variables, {**batch, "tokens": tokens})
    )
    return [jax.lax.map(see(task), tokens) for task in tasks]

  return jax.tree.map(np.asarray, run(drawn(tasks[0], 0.3), np.stack([batch["tokens"], other])))


def test_weights_go_where_the_paper_says_and_nowhere_else():
  blocks, plain = (both[0] for both in weights())
  assert blocks.shape == (4, 2, 2, N, N)
  seen = np.broadcast_to(seen_by_rule()[:, None, None], blocks.shape)
  np.testing.assert_array_equal(blocks > 0, seen)
  np.testing.assert_allclose(blocks.sum(-1), 1, atol=1e-5)
  assert not np.triu(plain, 1).any()


def test_what_is_read_early_in_a_block_depends_on_the_end_of_the_block_only_with_blocks():
  """The point of the paper: plain causal attention fails this."""
  for (before, after), looks in zip(weights(), (True, False), strict=True):
    moved = (before != after)[0, 1].any((0, 2))
    assert moved[1] == looks  # reads token 0, of the block of token 2
    assert moved[3:].all()


@functools.cache
def tiled():
  """Logits, by a mask of all pairs, at once, and in tiles of two edges; slopes of two of these."""
  task, batch = make(), windows()
  far = np.random.default_rng(2).normal(size=(4, N, 4)).astype(np.float32)
  ours = lambda v: logits_of(task, batch, v)

  def slopes(logits):
    both = lambda v: (jnp.sum(far * logits(v)), logits(v))
    return jax.jit(jax.grad(both, has_aux=True))(drawn(task))

  made = {"kept": slopes(lambda v: referred(task, batch, v))}
  with pytest.MonkeyPatch.context() as patch:
    for edge in (256, 4, 2):
      patch.setattr(ATTENTION, "BLOCK", edge)
      # A function of its own: what was traced with another edge is another program.
      own = lambda v: ours(v)
      made[str(edge)] = slopes(own) if edge == 4 else (None, jax.jit(own)(drawn(task)))
  return jax.tree.map(np.asarray, made)


@pytest.mark.parametrize("edge", [256, 4, 2])
def test_logits_and_slopes_equal_those_of_the_dense_mask(edge):
  (expected_slope, expected), (slope, logits) = tiled()["kept"], tiled()[str(edge)]
  close(logits, expected, **SUMS)
  assert (slope is None) == (edge != 4)
  for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(expected_slope), strict=edge == 4):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * float(np.abs(b).max()) + 1e-6)


@functools.cache
def found():
  """Costs of the batch, of others, and under other masks, in one program."""
  task, plain, causal = (make(mask, DEEP) for mask in ("hide.blocks", None, "hide.causal"))
  answers = np.array(list(itertools.product(range(4), repeat=3)))
  prompts = np.array([(0, 1), (1, 1)]).repeat(len(answers), 0)
  tokens = np.concatenate([prompts, np.tile(answers, (2, 1))], axis=1)
  tokens, batch = jax.device_put(tokens), windows()
  asked = jax.device_put(np.tile(np.arange(5) > 1, (len(tokens), 1)))

  @jax.jit
  def run(variables, batch, tokens):
    nats = lambda task, batch: task.answers["nats"](variables, batch, KEY, 1)
    all_asked = {name: batch[name] for name in ("tokens", "valid", "position")}
    both = {name: jnp.concatenate([x, x]) for name, x in batch.items()}
    both["asked"] = both["asked"].at[4:].set(True)
    short = {name: x[3:, :6] for name, x in batch.items() if name != "position"}
    short["position"] = batch["position"][3:]
    every = {"tokens": tokens, "valid": tokens >= 0, "asked": asked}
    filled = jnp.stack([jnp.where(batch["valid"], batch["tokens"], x) for x in (0, 3)])

    def slope(tokens):
      own = lambda v: task.answers["nats"](v, {**batch, "tokens": tokens}, KEY, 1)
      return jax.grad(lambda v: (own(v).sum(), own(v)), has_aux=True)(variables)

    where = batch["tokens"]
    moved = jnp.stack([where, *(where.at[:, i].set((where[:, i] + 1) % 4) for i in range(N))])
    mean = lambda tokens: task.answers["features"](variables, {**batch, "tokens": tokens})["mean"]
    return {
      "answers": nats(task, {**every, "position": jnp.arange(len(tokens))}),
      "loss": task.loss(variables, batch, KEY, 0)[0]["next"],
      "hidden": task.answers["views"](variables, batch, KEY)["hidden"],
      "all asked": nats(task, all_asked),
      "plain": nats(plain, both),
      "causal": nats(causal, both),
      "padded": jax.lax.map(slope, filled),
      "short": nats(task, short),
      "features": jax.lax.map(mean, moved),
    }

  got = jax.tree.map(np.asarray, run(drawn(task), batch, tokens))
  return {**got, "nats": got["padded"][1][0]}


def test_probabilities_of_all_answers_to_a_prompt_add_up_to_one():
  """They do only if no answer is predicted from itself or a later one, and prompts cost nothing."""
  for nats in found()["answers"].reshape(2, -1):
    p = np.exp(-nats.astype(np.float64))
    assert p.max() > 1.5 * p.min()
    # Rounding of logits; an answer that sees itself adds tenths.
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-4)


def test_the_loss_counts_answers_alone():
  term = found()["loss"]
  assert int(term.count) == 4 + 7 + 3 + 2
  close(term.sum, found()["nats"].sum(), **DEEP_SUMS)
  np.testing.assert_array_equal(found()["hidden"], VALID & ASKED)


def test_where_all_is_asked_blocks_are_causal_attention():
  got = found()
  np.testing.assert_array_equal(got["causal"], got["plain"])
  plain, all_asked = got["plain"].reshape(2, 4)
  close(got["all asked"], all_asked, **DEEP_SUMS)
  assert (np.abs(got["nats"] - plain) > 1e-3 * plain).all()


def test_padding_changes_neither_loss_nor_slope_and_equals_a_shorter_window():
  for leaf in jax.tree.leaves(found()["padded"]):
    np.testing.assert_array_equal(leaf[0], leaf[1])
  close(found()["short"], found()["nats"][3:], **DEEP_SUMS)


@functools.cache
def written(edge):
  """Logits of a prompt at once and then token by token; of the whole, and what is written."""
  task, batch = make(model=DEEP), {**windows(), "valid": jax.device_put(np.ones((4, N), bool))}
  variables = drawn(task)
  apply = functools.partial(task.network.apply, pairs=hide.blocks(), mutable=["cache"])

  def run(variables):
    blocks, ids = blocks_read(batch), shifted(batch, 4)[0]
    # What is not yet written is read as token 0 while the prompt is.
    unwritten = {**batch, "tokens": jnp.where(ASKED, 0, batch["tokens"])}
    see = lambda cache, ids, start: apply({**variables, **cache}, ids, None, blocks, start=start)
    prompt, cache = see({}, shifted(unwritten, 4)[0], 0)

    def step(cache, i):
      logits, cache = see(cache, jax.lax.dynamic_slice_in_dim(ids, i, 1, 1), i)
      return cache, logits[:, 0]

    answers = jax.lax.scan(step, cache, jnp.arange(2, N))[1]
    if edge < 256:
      return prompt, answers
    write = lambda **told: task.answers["generate"](
      variables, jax.random.split(KEY, 4), batch["tokens"], jnp.asarray(ASKED), **told
    )["tokens"]
    made = jnp.stack([batch["tokens"], write(), write(blocks=batch["blocks"])])
    blocks = jnp.stack([batch["blocks"], 0 * batch["blocks"], batch["blocks"]])
    whole = lambda x: logits_of(task, {**batch, "tokens": x[0], "blocks": x[1]}, variables)
    return prompt, answers, made, jax.lax.map(whole, (made, blocks))

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(ATTENTION, "BLOCK", edge)
    return jax.tree.map(np.asarray, jax.jit(run)(variables))


@pytest.mark.parametrize("edge", [256, 4])
def test_a_prompt_at_once_and_an_answer_token_by_token_give_the_logits_of_the_whole(edge):
  (prompt, answers, *_), whole = written(edge), written(256)[3][0]
  close(prompt[~ASKED], whole[~ASKED], **DEEP_SUMS)
  close(answers.swapaxes(0, 1), whole[:, 2:], **DEEP_SUMS)


@pytest.mark.parametrize("told", [False, True])
def test_what_is_written_is_the_likeliest_by_the_whole_pass(told):
  *_, made, logits = written(256)
  tokens, best = made[1 + told], logits[1 + told].argmax(-1)
  np.testing.assert_array_equal(tokens, np.where(ASKED, best, np.asarray(windows()["tokens"])))
  assert len(np.unique(tokens[ASKED])) > 1


def test_features_know_every_valid_token_of_a_prompt():
  before, *others = found()["features"]
  for i, after in enumerate(others):
    np.testing.assert_array_equal((after != before).any(-1), VALID[:, i])


def test_blocks_of_packed_documents_are_refused():
  task, batch = make(), windows()
  with pytest.raises(BadInput, match="no blocks in packed documents"):
    task.answers["nats"](drawn(task), {**batch, "segments": batch["blocks"]}, KEY, 1)
