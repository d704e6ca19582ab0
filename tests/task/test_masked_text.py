"""Masked language modelling: what is hidden, what is seen in its place, and what is asked."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_text as toy

from maskjax import select
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.base import total

HERE = pathlib.Path(__file__).parent
filled = runpy.run_path(str(HERE / "toy_weights.py"))["filled"]
KEY = jax.random.key(0)
ROWS, N, MASK = 6, 40, 30
VALID = np.arange(N) < np.array([[N], [N], [N], [N], [23], [7]])
LENGTHS = VALID.sum(-1)
UNIT = np.where(VALID, np.arange(N) // 4, -1)
TOKENS = np.random.default_rng(1).integers(0, MASK, (ROWS, N), np.int32)
RECORD = Record("text", (N,), {"train": ROWS}, vocabulary=tuple(map(str, range(MASK))))
IMAGES = Record("image", (8, 8, 3), {"train": 4})
# A run of thirty steps at each rate.
RATES, STEPS = (0.15, 0.4, 0.8), 30
STAIRS = dict(fn="schedule.step", values=RATES, boundaries=(0.33, 0.66))
# Rate, views, and the share that is asked: 1.5 tokens for each that is hidden in one view.
SEVERAL = 0.3, 2, 0.75


def build(ratio=0.4, views=1, asked=1.0, model=None, record=RECORD, **fields):
  """The task, of a network that tells what it sees unless said."""
  times = {f"let__{name}__views": views for name in ("hide_keys", "ask_keys")}
  times |= dict(select__times=views, let__source__times=views, let__asked__ratio=asked)
  own = dict(fn="toy_text:reads") if model is None else model
  return toy.task_of("mask15", record, own, select__select__ratio=ratio, **times, **fields)


def rows(**more):
  batch = {"tokens": TOKENS, "valid": VALID, "position": np.arange(ROWS)}
  return jax.device_put({**batch, **more})


def draw(task, batch, step):
  """Which tokens each view hides and asks, and the ids that it sees; its network does nothing."""
  run = task.loss.__self__.run({"params": {"unused": jnp.zeros(1)}}, batch, KEY, step)[0]
  return run.take("hidden", "asked", "seen.values")


@functools.cache
def found():
  """What tasks draw, in one program: over a run, at 0.4 of its steps, or at one of them."""
  stairs = dict(ratio=STAIRS, total_steps=3 * STEPS)
  shown, words = build(**stairs), build(**stairs, score__fn="score.words")
  several = build(*SEVERAL)
  shares = lambda *shares: dict(hide__shares=shares)
  corrupt, anew = build(0.8, **shares(0.4, 0.3, 0.3)), build(0.5, 2, **shares(0.0, 1.0, 0.0))

  @jax.jit
  def draws(batch, unit):
    over = lambda task, batch, *steps: jax.lax.map(
      lambda s: draw(task, batch, s), jnp.arange(*steps)
    )
    return {
      "shown": over(shown, batch, 3 * STEPS),
      "words": over(words, {**batch, "unit": unit}, 3 * STEPS),
      "several": over(several, batch, STEPS),
      "corrupt": draw(corrupt, batch, 2 * STEPS),
      "anew": draw(anew, batch, 3),
    }

  return jax.tree.map(np.asarray, draws(rows(), UNIT))


def test_the_share_is_hidden_and_asked_and_padding_is_neither():
  hidden, asked, seen = (x[STEPS:][3, 0] for x in found()["shown"])
  np.testing.assert_array_equal(asked.sum(-1), [16, 16, 16, 16, 9, 3])
  np.testing.assert_array_equal(asked, hidden)
  assert not (asked & ~VALID).any()
  np.testing.assert_array_equal(seen, np.where(asked, MASK, TOKENS))


def test_a_rate_may_move_over_the_run():
  counts = found()["shown"][0][:, 0, 0].sum(-1)
  assert counts.tolist() == [6] * STEPS + [16] * STEPS + [32] * STEPS


def test_more_are_asked_than_are_hidden_in_a_view():
  """The corruption rate stays, the prediction rate grows, and no token is hidden twice."""
  ratio, views, _ = SEVERAL
  hidden, asked, seen = found()["several"]
  assert hidden.shape == (STEPS, views, ROWS, N)
  each = np.round(ratio * LENGTHS)
  np.testing.assert_array_equal(hidden.sum(-1), np.broadcast_to(each, (STEPS, views, ROWS)))
  assert hidden.sum(1).max() == asked.sum(1).max() == 1
  assert not (hidden & ~VALID).any()
  np.testing.assert_array_equal(seen, np.where(hidden, MASK, TOKENS))


def test_fewer_are_asked_than_are_hidden():
  hidden, asked, _ = found()["several"]
  np.testing.assert_array_equal(asked.sum(-1), np.round(0.75 * hidden.sum(-1)))
  assert not (asked & ~hidden).any()
  # Any of them, not the first or the likeliest to be hidden.
  assert asked[:, :, 0].any((0, 1)).sum() > 0.9 * N
  # Of each window by itself.
  both = hidden[:, :, :2].all(2)
  assert asked[:, :, 1][both & asked[:, :, 0]].mean() < 0.86


def test_a_kept_token_is_asked_too_and_a_random_one_seen():
  hidden, asked, seen = (x[0] for x in found()["corrupt"])
  np.testing.assert_array_equal(hidden, found()["shown"][0][2 * STEPS, 0])
  np.testing.assert_array_equal(asked, hidden)
  np.testing.assert_array_equal(seen[~asked], TOKENS[~asked])
  masked, same = (seen == MASK)[asked], (seen == TOKENS)[asked]
  n = asked.sum()
  for share, expected in ((masked.mean(), 0.4), (same.mean(), 0.3 + 0.3 / MASK)):
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / n)


def test_windows_seen_twice_are_corrupted_anew():
  # Every token is seen once as it is, and once as something drawn.
  hidden, _, seen = (x[:, :4] for x in found()["anew"])
  np.testing.assert_array_equal(hidden[0], ~hidden[1])
  np.testing.assert_array_equal(np.where(hidden, TOKENS[:4], seen), [TOKENS[:4]] * 2)
  drawn = np.where(hidden, seen, 0).sum(0)
  assert drawn.max() < MASK
  assert len(np.unique(drawn)) > 20
  assert len(np.unique(drawn, axis=0)) == 4


def test_the_loss_is_that_of_every_way_to_hide_one_of_three():
  """Against enumeration, with a network that knows the language."""
  task = build(1 / 3, model=dict(fn="toy_text:exact"), record=toy.RECORD)
  terms = jax.jit(task.loss)(toy.variables(0.5), toy.batch(600), KEY, 0)[0]
  ids = toy.STATES.repeat(3, 0)
  ids[np.arange(24), np.tile(np.arange(3), 8)] = toy.MASK
  logs = jax.jit(lambda ids: jax.nn.log_softmax(toy.conditionals(ids, 0.5)))(ids)
  hidden = ids == toy.MASK
  true = toy.STATES.repeat(3, 0)[hidden][:, None]
  lost = -np.take_along_axis(np.asarray(logs)[hidden], true, -1)
  assert int(terms["masked"].count) == 4800
  np.testing.assert_allclose(total(terms, task.weights), np.mean(lost), rtol=0.02)


@functools.cache
def small():
  """A real network, with what is hidden or padded as it is and as something else."""
  sizes = dict(width=16, depth=1, heads=2, mlp=16)
  # What the loss shows in the place of hidden tokens, and how often, changes no answer.
  task = build(views=2, model=sizes, hide__shares=(0.0, 0.5, 0.5))
  other = toy.task_of("md4", RECORD, sizes)

  @jax.jit
  def run(variables, batch):
    own = task.answers["views"](variables, batch, KEY)["hidden"]
    gone = own | ~batch["valid"]
    changed = lambda where: jnp.where(where, (batch["tokens"] + 1) % MASK, batch["tokens"])
    both = jnp.stack([batch["tokens"], changed(gone), changed(~batch["valid"])])

    def see(tokens):
      given = {**batch, "tokens": tokens}
      return (
        task.answers["views"](variables, given, KEY),
        task.answers["infill"](variables, given, gone),
        task.answers["features"](variables, given)["mean"],
      )

    hidden = select.top(jax.random.normal(KEY, (ROWS, N)), ratio=0.3, allowed=batch["valid"])
    ids = jnp.where(hidden, MASK, batch["tokens"])
    fills = [one.answers["infill"](variables, batch, hidden) for one in (task, other)]
    return jax.lax.map(see, both), fills, task.network.apply(variables, ids, batch["valid"])

  variables = filled(jax.eval_shape(task.init, KEY, rows()))
  return jax.tree.map(np.asarray, run(variables, rows()))


def test_what_is_hidden_or_padded_reaches_nothing():
  (views, infill, mean), *_ = small()
  hidden = views["hidden"]
  np.testing.assert_array_equal(hidden[0], hidden[1])
  np.testing.assert_array_equal(hidden[0].sum(-1), [16, 16, 16, 16, 9, 3])
  pick = lambda i: np.where(hidden[i], views["prediction"][i], -1)
  np.testing.assert_array_equal(pick(0), pick(1))
  np.testing.assert_array_equal(infill[0][VALID], infill[1][VALID])
  np.testing.assert_array_equal(mean[0], mean[2])
  assert (mean[0] != mean[1]).any(-1).all()


def test_masked_diffusion_fills_in_by_the_same_network():
  _, (logits, other), plain = small()
  np.testing.assert_array_equal(logits, other)
  np.testing.assert_allclose(logits, plain, atol=1e-6)


def share_of_whole_units(hidden):
  """How many of the units are hidden whole, and how many in part."""
  inside = hidden[:, 0, :4].reshape(-1, N // 4, 4).sum(-1)
  return (inside == 4).mean(), ((inside > 0) & (inside < 4)).mean()


def test_units_are_hidden_whole_which_random_tokens_are_only_at_high_rates():
  """The reason for units, and why plain tokens want a higher rate (Wettig et al., section 5)."""
  white, units = (
    dict(zip(RATES, map(share_of_whole_units, np.split(found()[name][0], 3)), strict=True))
    for name in ("shown", "words")
  )
  for rate, (whole, part) in units.items():
    assert part <= 0.1
    assert whole == pytest.approx(rate, abs=0.06)
    # Four of a unit at random: about rate to the fourth.
    assert white[rate][0] == pytest.approx(rate**4, abs=0.06)
    assert white[rate][1] > 3 * part
  assert white[0.15][0] < 0.005
  assert white[0.4][0] > 5 * white[0.15][0]


@pytest.mark.parametrize(
  ("fields", "says"),
  [
    (dict(score__fn="score.words"), "'batch' has no field 'unit'"),
    (dict(model=dict(width=8, heads=2, causal=True)), "set model.causal=False"),
    (dict(model=dict(width=8, heads=2, extra=0)), "set model.extra=1"),
    (
      dict(model=dict(width=8), record=Record("image", (8, 8, 3), {"train": 4})),
      "takes windows of tokens",
    ),
  ],
)
def test_what_cannot_work_is_said(fields, says):
  with pytest.raises(BadInput, match=says):
    jax.eval_shape(build(**fields).init, KEY, rows())
