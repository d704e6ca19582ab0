"""Masked diffusion: its bound against exact enumeration, what hidden tokens reach, its counts."""

import functools
import itertools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_text as toy
from scipy.special import beta

from maskjax.record import Record
from maskjax.task.base import total

filled = runpy.run_path(str(pathlib.Path(__file__).with_name("toy_weights.py")))["filled"]
STATES, JOINT, KEY = toy.STATES, toy.JOINT, jax.random.key(0)
NAMED = dict(start=1.0, end=0.0)
SCHEDULES = {
  "linear": dict(fn="schedule.linear", **NAMED),
  "cosine": dict(fn="schedule.quarter_sine", **NAMED),
  "polynomial": dict(fn="schedule.power", power=2.0, **NAMED),
}
EXACT = dict(fn="toy_text:exact")
SHARP = (1.0, 0.5)


def build(alpha="linear", record=toy.RECORD, model=EXACT, **fields):
  """The task, on the toy language unless said."""
  return toy.task_of("md4", record, model, let__curve=SCHEDULES[alpha], **fields)


@functools.cache
def enumerated(sharpness):
  r"""The bound of every state, by all subsets: $\int a^{k-1} (1-a)^{n-k} da$ = B(k, n - k + 1)."""
  subsets = [list(s) for k in (1, 2, 3) for s in itertools.combinations(range(3), k)]
  ids = np.stack([STATES] * len(subsets))
  for rows, hidden in zip(ids, subsets, strict=True):
    rows[:, hidden] = toy.MASK
  logs = jax.jit(lambda ids: jax.nn.log_softmax(toy.conditionals(ids, sharpness)))(ids)
  lost = -np.take_along_axis(np.asarray(logs), STATES[None, ..., None], -1)[..., 0]
  weights = [beta(len(hidden), 3 - len(hidden) + 1) for hidden in subsets]
  return sum(w * x[:, s].sum(-1) for w, x, s in zip(weights, lost, subsets, strict=True))


@functools.cache
def found():
  """On the toy language: bounds by every schedule, and a loss."""
  copies, draws = 64, 64
  tasks = {name: build(name) for name in SCHEDULES}
  loss = build(batch_size=8192)

  @jax.jit
  def run(rows, many):
    def bounds(sharpness):
      own = toy.variables(sharpness)
      nats = lambda task: task.answers["nats"](own, rows, KEY, draws).reshape(8, copies).mean(1)
      return {name: nats(task) for name, task in tasks.items()}

    return {
      "bounds": jax.lax.map(bounds, jnp.array(SHARP)),
      "loss": loss.loss(toy.variables(0.5), many, KEY, 3)[0],
    }

  return jax.tree.map(np.asarray, run(toy.batch(copies), toy.batch(1024)))


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


LENGTHS = np.array([12, 12, 8, 3])


@functools.cache
def small():
  """A real network on random tokens, the last ones padding: views, losses, and what is hidden."""
  record = Record("text", (12,), {"train": 4}, vocabulary=tuple("abcde"))
  model = dict(width=16, depth=1, heads=2, mlp=16)
  task = build(record=record, model=model, batch_size=4, answers__generate__steps=4)
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

    def drawn(step):
      values = task.loss.__self__.run(variables, rows, KEY, step)[0]
      return values.take("times", "hidden")

    masks = jax.vmap(lambda key: task.answers["views"](variables, rows, key)["hidden"])
    # Of prompts of nine tokens, shorter than a window.
    given = rows["tokens"][:, :9]
    gaps = jnp.arange(9) % 3 > 0
    write = lambda tokens: task.answers["generate"](
      variables, jax.random.split(KEY, 4), tokens, jnp.broadcast_to(gaps, given.shape)
    )
    return (
      jax.lax.map(see, both),
      jax.vmap(drawn)(jnp.arange(400)),
      masks(jax.random.split(KEY, 50)),
      jax.lax.map(write, jnp.stack([given, jnp.where(gaps, 4 - given, given)])),
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
  times, masks = small()[2]
  hidden = masks.sum(-1)
  np.testing.assert_allclose(hidden.mean(0) / LENGTHS, times.mean(0), atol=0.06)
  # A share of exactly t of the tokens would have no spread about it; a binomial has t(1-t)/n.
  off = hidden / LENGTHS - times
  np.testing.assert_allclose((off**2).mean(0), 1 / 6 / LENGTHS, rtol=0.35)
  # Each example has its own, and its own order in which tokens are hidden.
  assert abs(np.corrcoef(off[:, 0], off[:, 1])[0, 1]) < 0.3
  masks = small()[3]
  assert (masks[:, 0] <= masks[:, 1]).all(-1).mean() < 0.8


def test_views_are_of_times_that_lie_evenly():
  shares = small()[3].sum(-1) / LENGTHS
  np.testing.assert_allclose(shares.mean(0), [1 / 8, 3 / 8, 5 / 8, 7 / 8], atol=0.12)


def test_gaps_are_filled_in_whatever_stands_in_them():
  rows, written = small()[0], small()[4]
  gaps = np.arange(9) % 3 > 0
  tokens, steps = written["tokens"], written["step"]
  np.testing.assert_array_equal(tokens[0], tokens[1])
  np.testing.assert_array_equal(tokens[0][:, ~gaps], rows["tokens"][:, :9][:, ~gaps])
  assert ((steps > 0) == gaps).all()
  assert len(np.unique(tokens[0][:, gaps])) > 1
