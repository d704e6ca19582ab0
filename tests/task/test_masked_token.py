"""Masked language modelling: what is hidden, what is seen in its place, and what is asked."""

import functools
import itertools
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

toy = runpy.run_path(str(pathlib.Path(__file__).with_name("toy_text.py")))
KEY = jax.random.key(0)
ROWS, N, MASK = 6, 40, 30
VALID = jnp.arange(N) < jnp.array([[N], [N], [N], [N], [23], [7]])


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


def rows(**more):
  tokens = jax.random.randint(jax.random.key(1), (ROWS, N), 0, MASK)
  return {"tokens": tokens, "valid": VALID, "position": jnp.arange(ROWS), **more}


def run(task, batch=None, step=3):
  """What each view's network saw and what it is asked: ids and bool [rows, n], in their sum."""
  batch = rows() if batch is None else batch
  variables = {"params": {"unused": jnp.zeros(1)}}
  return jax.jit(task.loss)(variables, batch, KEY, step)[0]["masked"]


def one_view(**words):
  """The ids that are seen and which tokens are asked, of a task with one view."""
  got = np.asarray(run(build(recover=kept, **words)).sum)
  return np.abs(got) - 1, got < 0


def test_the_share_is_hidden_and_asked_and_padding_is_neither():
  seen, asked = one_view()
  tokens = np.asarray(rows()["tokens"])
  np.testing.assert_array_equal(asked.sum(-1), [16, 16, 16, 16, 9, 3])
  assert not (asked & ~np.asarray(VALID)).any()
  np.testing.assert_array_equal(seen, np.where(asked, MASK, tokens))


@pytest.mark.parametrize("asked", [0.5, 0.25])
def test_fewer_are_asked_than_are_hidden(asked):
  seen, wanted = one_view(asked=asked)
  hidden = seen == MASK
  np.testing.assert_array_equal(hidden, one_view()[1])
  np.testing.assert_array_equal(wanted.sum(-1), np.round(asked * hidden.sum(-1)))
  assert not (wanted & ~hidden).any()
  # Any of them, not the first or the likeliest to be hidden.
  often = np.zeros(N)
  task = build(recover=kept, asked=asked)
  for step in range(40):
    often += np.asarray(run(task, step=step).sum)[0] < 0
  assert (often > 0).sum() > 0.9 * N


@pytest.mark.parametrize(
  ("ratio", "asked", "copies"), [(0.2, 2.0, 2), (0.1, 4.0, 4), (0.3, 1.5, 2)]
)
def test_more_are_asked_than_are_hidden(ratio, asked, copies):
  """The corruption rate stays, the prediction rate grows, and no token is hidden twice."""
  every = lambda logits, tokens, wanted: Term(
    (jnp.argmax(logits, -1) == MASK).astype(jnp.int32), wanted.astype(jnp.int32)
  )
  hidden, wanted = map(np.asarray, run(build(ratio, recover=every, asked=asked)))
  lengths = np.asarray(VALID).sum(-1)
  each = np.round(ratio * lengths)
  assert hidden.max() == wanted.max() == 1
  np.testing.assert_array_equal(hidden.sum(-1), np.minimum(copies * each, lengths))
  np.testing.assert_array_equal(wanted.sum(-1), copies * np.round(asked / copies * each))
  assert not (wanted.astype(bool) & ~hidden.astype(bool)).any()
  first = np.asarray(run(build(ratio, recover=kept)).sum) < 0
  assert (hidden[first] == 1).all()


def test_a_kept_token_is_asked_too_and_a_random_one_seen():
  shares = (0.4, 0.3, 0.3)
  seen, asked = one_view(ratio=0.8, hide=functools.partial(hide.corrupt, shares=shares))
  tokens = np.asarray(rows()["tokens"])
  np.testing.assert_array_equal(asked, one_view(ratio=0.8)[1])
  np.testing.assert_array_equal(seen[~asked], tokens[~asked])
  masked, same = (seen == MASK)[asked], (seen == tokens)[asked]
  n = asked.sum()
  for share, expected in ((masked.mean(), 0.4), (same.mean(), 0.3 + 0.3 / MASK)):
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / n)


def test_windows_seen_twice_are_corrupted_anew():
  shares = dict(shares=(0.0, 1.0, 0.0))
  seen = lambda logits, tokens, wanted: Term(jnp.argmax(logits, -1), wanted.sum(-1))
  corrupt = functools.partial(hide.corrupt, **shares)
  whole = run(build(0.5, recover=seen, asked=2.0, hide=corrupt)).sum
  tokens = np.asarray(rows()["tokens"])[:4]
  # Every token is seen once as it is, and once as something drawn.
  drawn = np.asarray(whole)[:4] - tokens
  assert drawn.min() >= 0
  assert drawn.max() < MASK
  assert len(np.unique(drawn)) > 20


def test_masks_depend_on_seed_step_and_position_only():
  task = build(recover=kept)
  whole = np.asarray(run(task).sum)
  half = jax.tree.map(lambda x: x[1::2], rows())
  np.testing.assert_array_equal(run(task, half).sum, whole[1::2])
  assert (np.asarray(run(task, step=4).sum) != whole).any(-1).all()
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
  variables = {"params": {"unused": jnp.zeros(1)}}
  terms = jax.jit(task.loss)(variables, batch, KEY, 0)[0]
  lost = []
  for state, i in itertools.product(toy["STATES"], range(3)):
    ids = state.copy()
    ids[i] = toy["MASK"]
    logs = jax.nn.log_softmax(toy["conditionals"](jnp.asarray(ids), 0.5))
    lost.append(-float(logs[i, state[i]]))
  assert int(terms["masked"].count) == 4800
  np.testing.assert_allclose(total(terms, task.weights), np.mean(lost), rtol=0.02)


def small(**words):
  """A real network and its variables."""
  model = functools.partial(text_transformer, width=16, depth=1, heads=2, mlp=16)
  task = build(model=model, **words)
  return task, jax.jit(task.init)(KEY, rows())


def test_what_is_hidden_or_padded_reaches_nothing():
  task, variables = small()
  views = jax.jit(task.views)
  first = views(variables, rows(), KEY)
  gone = first["hidden"] | ~VALID
  other = jnp.where(gone, (rows()["tokens"] + 1) % MASK, rows()["tokens"])
  second = views(variables, rows(tokens=other), KEY)
  pick = lambda view: np.where(first["hidden"], view["prediction"], -1)
  np.testing.assert_array_equal(pick(first), pick(second))
  infill = jax.jit(task.infill)
  np.testing.assert_array_equal(
    np.asarray(infill(variables, rows(), gone))[VALID],
    np.asarray(infill(variables, rows(tokens=other), gone))[VALID],
  )
  mean = jax.jit(task.features)
  spoilt = jnp.where(VALID, rows()["tokens"], 1)
  np.testing.assert_array_equal(
    mean(variables, rows())["mean"], mean(variables, rows(tokens=spoilt))["mean"]
  )


def test_masked_diffusion_fills_in_by_the_same_network():
  task, variables = small()
  other = diffuse(
    record=Record("text", (N,), {"train": ROWS}, vocabulary=tuple(map(str, range(MASK)))),
    batch_size=ROWS,
    model=functools.partial(text_transformer, width=16, depth=1, heads=2, mlp=16),
    score=functools.partial(score.white),
    select=functools.partial(select.top),
    schedule=functools.partial(schedule.linear),
  )
  hidden = select.top(jax.random.normal(KEY, (ROWS, N)), ratio=0.3, allowed=VALID)
  logits = jax.jit(task.infill)(variables, rows(), hidden)
  np.testing.assert_array_equal(logits, jax.jit(other.infill)(variables, rows(), hidden))
  ids = jnp.where(hidden, MASK, rows()["tokens"])
  plain = jax.jit(task.network.apply)(variables, ids, VALID)
  np.testing.assert_allclose(logits, plain, atol=1e-6)


UNIT = jnp.where(VALID, jnp.arange(N) // 4, -1)


def share_of_whole_units(task, ratio_steps=30):
  """How many of the units are hidden whole, and how many in part."""
  hidden = np.stack(
    [np.asarray(run(task, rows(unit=UNIT), step).sum)[:4] < 0 for step in range(ratio_steps)]
  ).reshape(-1, N // 4, 4)
  inside = hidden.sum(-1)
  return (inside == 4).mean(), ((inside > 0) & (inside < 4)).mean()


def test_units_are_hidden_whole_which_random_tokens_are_only_at_high_rates():
  """The reason for units, and why plain tokens want a higher rate (Wettig et al., section 5)."""
  white = {r: share_of_whole_units(build(r, recover=kept)) for r in (0.15, 0.4, 0.8)}
  units = {
    r: share_of_whole_units(build(r, recover=kept, score=functools.partial(score.words)))
    for r in (0.15, 0.4, 0.8)
  }
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
    run(task)
  plain, told = (run(build(recover=kept), batch).sum for batch in (rows(), rows(unit=UNIT)))
  np.testing.assert_array_equal(plain, told)


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
  moving = bind.Moving(lambda step: 0.8 - 0.1 * step)
  task = build(recover=kept, select=functools.partial(select.top, ratio=moving))
  counts = [int((np.asarray(run(task, step=s).sum)[0] < 0).sum()) for s in (0, 4)]
  assert counts == [32, 16]
