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

HERE = pathlib.Path(__file__).parent
toy = runpy.run_path(str(HERE / "toy_text.py"))
filled = runpy.run_path(str(HERE / "toy_weights.py"))["filled"]
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


SHARP, EMPTY = (1.0, 0.5), {"params": {"unused": np.zeros(1, np.float32)}}


@functools.cache
def enumerated(sharpness):
  r"""The bound of every state, by all subsets: $\int a^{k-1} (1-a)^{n-k} da$ = B(k, n - k + 1)."""
  subsets = [list(s) for k in (1, 2, 3) for s in itertools.combinations(range(3), k)]
  ids = np.stack([STATES] * len(subsets))
  for rows, hidden in zip(ids, subsets, strict=True):
    rows[:, hidden] = toy["MASK"]
  logs = jax.jit(lambda ids: jax.nn.log_softmax(toy["conditionals"](ids, sharpness)))(ids)
  lost = -np.take_along_axis(np.asarray(logs), STATES[None, ..., None], -1)[..., 0]
  weights = [beta(len(hidden), 3 - len(hidden) + 1) for hidden in subsets]
  return sum(w * x[:, s].sum(-1) for w, x, s in zip(weights, lost, subsets, strict=True))


@functools.cache
def found():
  """On the toy language: bounds by every schedule, a loss, and times with what they hide."""
  copies, draws = 64, 64
  seen = lambda logits, ids, hidden, weight, valid: Term(weight, hidden.sum(-1))
  loss, times = build(0.5, batch_size=8192), build(batch_size=64, recover=seen, eps=0.0)

  @jax.jit
  def run(empty, rows, many, few):
    def bounds(sharpness):
      tasks = {name: build(sharpness, alpha) for name, alpha in SCHEDULES.items()}
      nats = lambda task: task.answers["nats"](empty, rows, KEY, draws).reshape(8, copies).mean(1)
      return {name: nats(task) for name, task in tasks.items()}

    at = lambda rows, step: times.loss(empty, rows, KEY, step)[0]["bound"]
    return {
      "bounds": jax.lax.map(bounds, jnp.array(SHARP)),
      "loss": loss.loss(empty, many, KEY, 3)[0],
      "times": jax.lax.map(lambda step: at(few, step), jnp.array([5, 6])),
      "half": at(jax.tree.map(lambda x: x[1::2], few), 5),
    }

  return jax.tree.map(np.asarray, run(EMPTY, batch(copies), batch(1024), batch(8)))


@pytest.mark.parametrize("alpha", SCHEDULES)
@pytest.mark.parametrize("sharpness", SHARP)
def test_the_bound_is_the_enumerated_one_whatever_the_schedule(alpha, sharpness):
  got = found()["bounds"][alpha][SHARP.index(sharpness)]
  np.testing.assert_allclose(got, enumerated(sharpness), rtol=0.06)
  if sharpness == 1:  # with conditionals of one joint distribution it is tight
    np.testing.assert_allclose(enumerated(1.0), -np.log(JOINT), rtol=1e-4)
  else:
    assert (np.sum(JOINT * enumerated(sharpness)) > -np.sum(JOINT * np.log(JOINT))).all()


def test_the_loss_is_the_bound_a_token():
  terms = found()["loss"]
  assert int(terms["bound"].count) == 3 * 8192
  np.testing.assert_allclose(total(terms, {}), enumerated(0.5).mean() / 3, rtol=0.05)


def test_times_are_antithetic_and_do_not_depend_on_microbatches():
  weight, hidden = (x[0] for x in found()["times"])
  times = np.sort(1 / weight)  # w = 1 / t for the linear schedule
  np.testing.assert_allclose(np.diff(times), 1 / 64, atol=1e-5)
  other = np.sort(1 / found()["times"].sum[1])
  assert abs(other[0] - times[0]) > 1e-5
  part = found()["half"]
  np.testing.assert_array_equal(part.sum, weight[1::2])
  np.testing.assert_array_equal(part.count, hidden[1::2])


LENGTHS = np.array([12, 12, 8, 3])


@functools.cache
def small():
  """A real network on random tokens, the last ones padding: views, losses, and what is hidden."""
  record = Record("text", (12,), {"train": 4}, vocabulary=tuple("abcde"))
  model = functools.partial(text_transformer, width=16, depth=1, heads=2, mlp=16)
  hides = lambda logits, tokens, hidden, weight, valid: Term(weight, hidden.sum(-1))
  make = functools.partial(build, record=record, model=model, batch_size=4)
  task, plain = make(), make(recover=hides)
  tokens = np.random.default_rng(0).integers(0, 5, (4, 12), np.int32)
  rows = {"tokens": tokens, "valid": np.arange(12) < LENGTHS[:, None], "position": np.arange(4)}
  rows = jax.device_put(rows)

  @jax.jit
  def run(variables, rows):
    hidden, valid = task.answers["views"](variables, rows, KEY)["hidden"], rows["valid"]
    changed = lambda where: jnp.where(where, (rows["tokens"] + 1) % 5, rows["tokens"])
    both = jnp.stack([rows["tokens"], changed(hidden | ~valid), changed(~valid)])

    def see(tokens):
      given = {**rows, "tokens": tokens}
      return task.answers["views"](variables, given, KEY), task.loss(variables, given, KEY, 0)[0][
        "bound"
      ]

    drawn = lambda step: plain.loss(variables, rows, KEY, step)[0]["bound"]
    masks = jax.vmap(lambda key: task.answers["views"](variables, rows, key)["hidden"])
    return (
      jax.lax.map(see, both),
      jax.vmap(drawn)(jnp.arange(400)),
      masks(jax.random.split(KEY, 50)),
    )

  variables = filled(jax.eval_shape(task.init, KEY, rows))
  return jax.tree.map(np.asarray, (rows, *run(variables, rows)))


def test_hidden_and_padded_tokens_reach_nothing_but_their_own_target():
  rows, (views, loss), *_ = small()
  hidden = views["hidden"]
  assert hidden[0].any()
  assert not (hidden[0] & ~rows["valid"]).any()
  pick = lambda i: np.where(hidden[i], views["prediction"][i], -1)
  np.testing.assert_array_equal(pick(0), pick(1))
  assert loss.sum[0] == loss.sum[2] != loss.sum[1]
  assert loss.count.tolist() == [12 + 12 + 8 + 3] * 3


def test_the_binomial_count_has_its_mean():
  weight, hidden = small()[2]
  times = 1 / weight
  np.testing.assert_allclose(hidden.mean(0) / LENGTHS, times.mean(0), atol=0.06)
  # A share of exactly t of the tokens would have no spread about it; a binomial has t(1-t)/n.
  off = hidden / LENGTHS - times
  np.testing.assert_allclose((off**2).mean(0), 1 / 6 / LENGTHS, rtol=0.35)
  # Each example has its own, and its own order in which tokens are hidden.
  assert abs(np.corrcoef(off[:, 0], off[:, 1])[0, 1]) < 0.3
  masks = small()[3]
  assert (masks[:, 0] <= masks[:, 1]).all(-1).mean() < 0.8


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
