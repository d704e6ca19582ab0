"""Masked diffusion: its bound against exact enumeration, its times, what hidden tokens reach."""

import functools
import itertools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import beta

from maskjax import schedule, score, select
from maskjax.errors import BadInput
from maskjax.model import text_transformer
from maskjax.record import Record
from maskjax.reduce import Term
from maskjax.task import diffuse
from maskjax.task.base import total

toy = runpy.run_path(str(pathlib.Path(__file__).with_name("toy_text.py")))
Exact, STATES, JOINT, batch = toy["Exact"], toy["STATES"], toy["JOINT"], toy["batch"]
KEY = jax.random.key(0)
SCHEDULES = {
  "linear": schedule.linear,
  "cosine": schedule.quarter_sine,
  "polynomial": functools.partial(schedule.power, power=2.0),
}


def build(sharpness=1.0, alpha=schedule.linear, batch_size=64, **words):
  """The task on the toy language."""
  defaults = dict(
    record=toy["RECORD"],
    model=functools.partial(lambda record_shape: Exact(sharpness)),
    score=functools.partial(score.white),
    select=functools.partial(select.top),
    schedule=functools.partial(alpha),
  )
  return diffuse(batch_size=batch_size, **{**defaults, **words})


def enumerated(sharpness):
  r"""The bound of every state, by all subsets: $\int a^{k-1} (1-a)^{n-k} da$ = B(k, n - k + 1)."""
  total = np.zeros(8)
  for k in (1, 2, 3):
    for hidden in itertools.combinations(range(3), k):
      ids = STATES.copy()
      ids[:, hidden] = toy["MASK"]
      logs = jax.nn.log_softmax(toy["conditionals"](jnp.asarray(ids), sharpness))
      lost = -np.take_along_axis(np.asarray(logs), STATES[..., None], -1)[..., 0]
      total += beta(k, 3 - k + 1) * lost[:, hidden].sum(-1)
  return total


@pytest.mark.parametrize("alpha", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("sharpness", [1.0, 0.5])
def test_the_bound_is_the_enumerated_one_whatever_the_schedule(alpha, sharpness):
  copies, draws = 64, 64
  task = build(sharpness, alpha)
  rows = batch(copies)
  nats = jax.jit(task.nats, static_argnums=3)(
    {"params": {"unused": jnp.zeros(1)}}, rows, KEY, draws
  )
  got = np.asarray(nats).reshape(8, copies).mean(1)
  np.testing.assert_allclose(got, enumerated(sharpness), rtol=0.06)
  if sharpness == 1:  # with conditionals of one joint distribution it is tight
    np.testing.assert_allclose(enumerated(1.0), -np.log(JOINT), rtol=1e-4)
  else:
    assert (np.sum(JOINT * enumerated(sharpness)) > -np.sum(JOINT * np.log(JOINT))).all()


def test_the_loss_is_the_bound_a_token():
  rows = batch(1024)
  size = len(rows["tokens"])
  task = build(0.5, batch_size=size)
  terms, _ = jax.jit(task.loss)({"params": {"unused": jnp.zeros(1)}}, rows, KEY, 3)
  assert int(terms["bound"].count) == 3 * size
  np.testing.assert_allclose(total(terms, {}), enumerated(0.5).mean() / 3, rtol=0.05)


def test_times_are_antithetic_and_do_not_depend_on_microbatches():
  seen = lambda logits, ids, hidden, weight, valid: Term(weight, hidden.sum(-1))
  task = build(batch_size=64, recover=seen, eps=0.0)
  rows = batch(8)
  run = jax.jit(lambda rows, step: task.loss({"params": {"unused": jnp.zeros(1)}}, rows, KEY, step))
  weight, hidden = run(rows, 5)[0]["bound"]
  times = np.sort(1 / np.asarray(weight))  # w = 1 / t for the linear schedule
  np.testing.assert_allclose(np.diff(times), 1 / 64, atol=1e-5)
  other = np.sort(1 / np.asarray(run(rows, 6)[0]["bound"].sum))
  assert abs(other[0] - times[0]) > 1e-5
  half = jax.tree.map(lambda x: x[1::2], rows)
  part = run(half, 5)[0]["bound"]
  np.testing.assert_array_equal(part.sum, weight[1::2])
  np.testing.assert_array_equal(part.count, hidden[1::2])


def small(length=12, **words):
  """A real network on random tokens, the last ones padding."""
  record = Record("text", (length,), {"train": 4}, vocabulary=tuple("abcde"))
  model = functools.partial(text_transformer, width=16, depth=1, heads=2, mlp=16)
  task = build(record=record, model=model, batch_size=4, **words)
  tokens = jax.random.randint(KEY, (4, length), 0, 5)
  valid = jnp.arange(length) < jnp.array([length, length, 8, 3])[:, None]
  rows = {"tokens": tokens, "valid": valid, "position": jnp.arange(4)}
  return task, rows, task.init(KEY, rows)


def test_hidden_and_padded_tokens_reach_nothing_but_their_own_target():
  task, rows, variables = small()
  views = jax.jit(task.views)
  first = views(variables, rows, KEY)
  assert not (first["hidden"] & ~rows["valid"]).any()
  other = jnp.where(first["hidden"] | ~rows["valid"], (rows["tokens"] + 1) % 5, rows["tokens"])
  second = views(variables, {**rows, "tokens": other}, KEY)
  np.testing.assert_array_equal(
    np.where(first["hidden"], first["prediction"], 0),
    np.where(second["hidden"], second["prediction"], 0),
  )
  loss = jax.jit(lambda rows: task.loss(variables, rows, KEY, 0)[0]["bound"])
  padded = jnp.where(rows["valid"], rows["tokens"], 4)
  assert loss(rows).sum == loss({**rows, "tokens": padded}).sum
  assert int(loss(rows).count) == 12 + 12 + 8 + 3


def test_the_binomial_count_has_its_mean():
  task, rows, variables = small(recover=lambda y, t, h, weight, valid: Term(weight, h.sum(-1)))
  many = jax.jit(jax.vmap(lambda step: task.loss(variables, rows, KEY, step)[0]["bound"]))
  weight, hidden = many(jnp.arange(400))
  times = 1 / np.asarray(weight)
  lengths = np.array([12, 12, 8, 3])
  np.testing.assert_allclose(np.asarray(hidden).mean(0) / lengths, times.mean(0), atol=0.06)
  # A share of exactly t of the tokens would have no spread about it; a binomial has t(1-t)/n.
  spread = ((np.asarray(hidden) / lengths - times) ** 2).mean(0)
  np.testing.assert_allclose(spread, 1 / 6 / lengths, rtol=0.35)


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (dict(record=Record("image", (8, 8, 3), {"train": 4})), "takes text"),
    (dict(select=functools.partial(select.top, count=2)), "how many tokens"),
    (dict(score=functools.partial(score.entropy)), "entropy needs logits"),
  ],
)
def test_what_cannot_work_is_said(words, says):
  with pytest.raises(BadInput, match=says):
    build(**words)
