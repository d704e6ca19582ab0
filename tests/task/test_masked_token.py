"""Masked language modelling: what is hidden, what is seen in its place, and what is asked."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import bind, hide, schedule, score, select
from maskjax.errors import BadInput
from maskjax.model import text_transformer
from maskjax.record import Record
from maskjax.reduce import Term
from maskjax.task import diffuse, masked_token
from maskjax.task.base import total

HERE = pathlib.Path(__file__).parent
toy = runpy.run_path(str(HERE / "toy_text.py"))
filled = runpy.run_path(str(HERE / "toy_weights.py"))["filled"]
KEY = jax.random.key(0)
ROWS, N, MASK = 6, 40, 30
VALID = np.arange(N) < np.array([[N], [N], [N], [N], [23], [7]])
STATES = toy["STATES"]
UNIT = np.where(VALID, np.arange(N) // 4, -1)
TOKENS = np.random.default_rng(1).integers(0, MASK, (ROWS, N), np.int32)


class Reads:
  """A network whose logits are the ids that it is shown, 30 of them."""

  def init(self, key, ids, valid):
    """No parameters but one that is not used."""
    return {"params": {"unused": jnp.zeros(1)}}

  def apply(self, variables, ids, valid, segments=None):
    """The ids, one-hot; the mask is the last of them."""
    return jax.nn.one_hot(ids, MASK + 1) + 0 * variables["params"]["unused"]


def kept(logits, tokens, asked):
  """In place of a loss, what was seen where, and what is asked, row by row."""
  return Term(jnp.where(asked, -1, 1) * (1 + jnp.argmax(logits, -1)), asked.sum(-1))


def build(ratio=0.4, model=lambda record_shape: Reads(), **words):
  record = Record("text", (N,), {"train": ROWS}, vocabulary=tuple(map(str, range(MASK))))
  defaults = dict(
    score=functools.partial(score.white), select=functools.partial(select.top, ratio=ratio)
  )
  return masked_token(record=record, model=model, **{**defaults, **words})


def every(logits, tokens, wanted):
  """In place of a loss, where the mask is seen, and what is asked, over all views."""
  masked = jnp.argmax(logits, -1) == MASK
  return Term(masked.astype(jnp.int32), wanted.astype(jnp.int32))


def rows(**more):
  batch = {"tokens": TOKENS, "valid": VALID, "position": np.arange(ROWS)}
  return jax.device_put({**batch, **more})


def run(task, batch, step=3):
  """What each view's network saw and what it is asked: ids and bool [rows, n], in their sum."""
  return task.loss({"params": {"unused": jnp.zeros(1)}}, batch, KEY, step)[0]["masked"]


STEPS, RATES = 40, (0.15, 0.4, 0.8)
MORE = ((0.1, 4.0, 4), (0.3, 1.5, 2))
# Rates at step 0, what they change by a step, and the step.
AT_3 = [(rate, 0.0, 3) for rate in (0.1, 0.3, 0.4, 0.8)]
PLACES = [*AT_3, (0.4, 0.0, 4), (0.8, -0.1, 0), (0.8, -0.1, 4)]
PLACES += [(rate, 0.0, step) for rate in RATES for step in range(30)]
corrupt = lambda *shares: functools.partial(hide.corrupt, shares=shares)


@functools.cache
def found():
  """What tasks without weights draw, in one program; each at step 3 unless it says steps."""
  shown = functools.partial(build, recover=kept)
  ids = lambda logits, tokens, wanted: Term(jnp.argmax(logits, -1), wanted.sum(-1))

  @jax.jit
  def draws(batch, unit):
    told = {**batch, "unit": unit}
    over = lambda task, steps, rows=batch: jax.lax.map(lambda s: run(task, rows, s).sum, steps)
    words = lambda rate: over(
      shown(rate, score=functools.partial(score.words)), jnp.arange(30), told
    )

    def at(place):
      start, slope, step = place
      moving = bind.Moving(lambda step: start + slope * step)
      return run(shown(moving), told, step.astype(int)).sum

    return {
      "places": jax.lax.map(at, jnp.array(PLACES)),
      "half": run(shown(), {name: x[1::2] for name, x in batch.items()}).sum,
      "fewer": {asked: over(shown(asked=asked), jnp.arange(STEPS)) for asked in (0.5, 0.25)},
      "more": [run(build(rate, recover=every, asked=asked), batch) for rate, asked, _ in MORE],
      "corrupt": run(shown(0.8, hide=corrupt(0.4, 0.3, 0.3)), batch).sum,
      "anew": run(build(0.5, recover=ids, asked=2.0, hide=corrupt(0.0, 1.0, 0.0)), batch).sum,
      "words": jax.lax.map(words, jnp.array(RATES)),
    }

  return jax.tree.map(np.asarray, draws(rows(), UNIT))


def parts(got):
  """The ids that are seen, and which tokens are asked, of what `kept` keeps."""
  return np.abs(got) - 1, got < 0


def at(rate, slope=0.0, step=3):
  """What is kept of one of `PLACES`."""
  return found()["places"][PLACES.index((rate, slope, step))]


def test_the_share_is_hidden_and_asked_and_padding_is_neither():
  seen, asked = parts(at(0.4))
  np.testing.assert_array_equal(asked.sum(-1), [16, 16, 16, 16, 9, 3])
  assert not (asked & ~VALID).any()
  np.testing.assert_array_equal(seen, np.where(asked, MASK, TOKENS))


@pytest.mark.parametrize("asked", [0.5, 0.25])
def test_fewer_are_asked_than_are_hidden(asked):
  drawn = found()["fewer"][asked]
  seen, wanted = parts(drawn[3])
  hidden = seen == MASK
  np.testing.assert_array_equal(hidden, parts(at(0.4))[1])
  np.testing.assert_array_equal(wanted.sum(-1), np.round(asked * hidden.sum(-1)))
  assert not (wanted & ~hidden).any()
  # Any of them, not the first or the likeliest to be hidden.
  often = (drawn[:, 0] < 0).sum(0)
  assert (often > 0).sum() > 0.9 * N
  # Of each window by itself.
  seen, wanted = parts(drawn[:, :2])
  both = (seen == MASK).all(1)
  assert wanted[:, 1][both & wanted[:, 0]].mean() < asked + 0.2


@pytest.mark.parametrize(("ratio", "asked", "copies"), MORE)
def test_more_are_asked_than_are_hidden(ratio, asked, copies):
  """The corruption rate stays, the prediction rate grows, and no token is hidden twice."""
  hidden, wanted = found()["more"][MORE.index((ratio, asked, copies))]
  lengths = VALID.sum(-1)
  each = np.round(ratio * lengths)
  assert hidden.max() == wanted.max() == 1
  np.testing.assert_array_equal(hidden.sum(-1), np.minimum(copies * each, lengths))
  np.testing.assert_array_equal(wanted.sum(-1), copies * np.round(asked / copies * each))
  assert not (wanted.astype(bool) & ~hidden.astype(bool)).any()
  assert (hidden[parts(at(ratio))[1]] == 1).all()


def test_a_kept_token_is_asked_too_and_a_random_one_seen():
  seen, asked = parts(found()["corrupt"])
  np.testing.assert_array_equal(asked, parts(at(0.8))[1])
  np.testing.assert_array_equal(seen[~asked], TOKENS[~asked])
  masked, same = (seen == MASK)[asked], (seen == TOKENS)[asked]
  n = asked.sum()
  for share, expected in ((masked.mean(), 0.4), (same.mean(), 0.3 + 0.3 / MASK)):
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / n)


def test_windows_seen_twice_are_corrupted_anew():
  # Every token is seen once as it is, and once as something drawn.
  drawn = found()["anew"][:4] - TOKENS[:4]
  assert drawn.min() >= 0
  assert drawn.max() < MASK
  assert len(np.unique(drawn)) > 20
  assert len(np.unique(drawn, axis=0)) == 4


def test_masks_depend_on_seed_step_and_position_only():
  whole, other = at(0.4), at(0.4, step=4)
  np.testing.assert_array_equal(found()["half"], whole[1::2])
  assert (other != whole).any(-1).all()
  assert len(np.unique(whole[:4] < 0, axis=0)) == 4


def test_the_loss_is_that_of_every_way_to_hide_one_of_three():
  """Against enumeration, with a network that knows the language."""

  class Exact:
    init = toy["Exact"](0.5).init
    apply = staticmethod(lambda v, ids, valid, segments: toy["Exact"](0.5).apply(v, ids, valid))

  task = masked_token(
    record=toy["RECORD"],
    model=lambda record_shape: Exact,
    score=functools.partial(score.white),
    select=functools.partial(select.top, count=1),
  )
  batch = toy["batch"](600)
  variables = {"params": {"unused": np.zeros(1, np.float32)}}
  terms = jax.jit(task.loss)(variables, batch, KEY, 0)[0]
  ids = STATES.repeat(3, 0)
  ids[np.arange(24), np.tile(np.arange(3), 8)] = toy["MASK"]
  logs = jax.jit(lambda ids: jax.nn.log_softmax(toy["conditionals"](ids, 0.5)))(ids)
  hidden = ids == toy["MASK"]
  lost = -np.take_along_axis(np.asarray(logs)[hidden], STATES.repeat(3, 0)[hidden][:, None], -1)
  assert int(terms["masked"].count) == 4800
  np.testing.assert_allclose(total(terms, task.weights), np.mean(lost), rtol=0.02)


@functools.cache
def small():
  """A real network, with what is hidden or padded as it is and as something else."""
  sizes = dict(width=16, depth=1, heads=2, mlp=16)
  task = build(model=functools.partial(text_transformer, **sizes))
  other = diffuse(
    record=Record("text", (N,), {"train": ROWS}, vocabulary=tuple(map(str, range(MASK)))),
    batch_size=ROWS,
    model=functools.partial(text_transformer, **sizes),
    score=functools.partial(score.white),
    select=functools.partial(select.top),
    schedule=functools.partial(schedule.linear),
  )

  @jax.jit
  def run(variables, batch):
    own = task.answers["views"](variables, batch, KEY)["hidden"]
    gone = own | ~batch["valid"]
    changed = lambda where: jnp.where(where, (batch["tokens"] + 1) % MASK, batch["tokens"])
    both = jnp.stack([batch["tokens"], changed(gone), changed(~batch["valid"])])

    def see(tokens):
      given = {**batch, "tokens": tokens}
      views = task.answers["views"](variables, given, KEY)
      return (
        views,
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


def share_of_whole_units(drawn):
  """How many of the units are hidden whole, and how many in part."""
  inside = (drawn[:, :4] < 0).reshape(-1, N // 4, 4).sum(-1)
  return (inside == 4).mean(), ((inside > 0) & (inside < 4)).mean()


def test_units_are_hidden_whole_which_random_tokens_are_only_at_high_rates():
  """The reason for units, and why plain tokens want a higher rate (Wettig et al., section 5)."""
  drawn = found()["places"][-90:].reshape(3, 30, ROWS, N), found()["words"]
  white, units = (dict(zip(RATES, map(share_of_whole_units, x), strict=True)) for x in drawn)
  for rate, (whole, part) in units.items():
    assert part <= 0.1
    assert whole == pytest.approx(rate, abs=0.06)
    # Four of a unit at random: about rate to the fourth.
    assert white[rate][0] == pytest.approx(rate**4, abs=0.06)
    assert white[rate][1] > 3 * part
  assert white[0.15][0] < 0.005
  assert white[0.4][0] > 5 * white[0.15][0]


def test_units_are_asked_for_only_where_a_score_needs_them():
  task = build(score=functools.partial(score.words))
  with pytest.raises(BadInput, match="set data"):
    run(task, rows())
  # A batch that tells them draws as one that does not.
  np.testing.assert_array_equal(found()["half"], at(0.4)[1::2])


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (dict(score=functools.partial(score.entropy)), "entropy needs logits"),
    (dict(hide=functools.partial(hide.drop, keep=3)), "drop needs x; masked_token offers"),
    (dict(asked=0.0), "more than 0"),
    (dict(asked=2.0, select=functools.partial(select.threshold, above=0.5)), "needs a count"),
    (dict(model=functools.partial(text_transformer, width=8, heads=2, causal=True)), "both ways"),
    (dict(model=functools.partial(text_transformer, width=8, heads=2, extra=0)), "extra=1"),
  ],
)
def test_what_cannot_work_is_said(words, says):
  with pytest.raises(BadInput, match=says):
    build(**words)
  with pytest.raises(BadInput, match="takes text"):
    masked_token(
      record=Record("image", (8, 8, 3), {"train": 4}),
      model=text_transformer,
      score=functools.partial(score.white),
      select=functools.partial(select.top, ratio=0.4),
    )


def test_a_rate_may_move_over_the_run():
  counts = [int((at(0.8, -0.1, step)[0] < 0).sum()) for step in (0, 4)]
  assert counts == [32, 16]
