"""Learned N:M patterns: the public code's numbers, what is drawn, and that it beats one-shot."""

import itertools
import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

from maskjax import schedule, select, weights
from maskjax.bind import Moving
from maskjax.errors import BadInput
from maskjax.reduce import Term
from maskjax.task.base import Aux, Task
from maskjax.weights.patterns import along_inputs, learned_patterns, nearer, pattern_of, patterns

GOLDEN = load_file(pathlib.Path(__file__).parents[1] / "golden" / "maskllm.safetensors")
KEY, BOOK, STEPS = jax.random.key(0), patterns(2, 4), 2000
SCALE = Moving(schedule.at_step(schedule.linear(1e2, 5e2), STEPS))
TAU = Moving(schedule.at_step(schedule.linear(4.0, 0.05), STEPS))
SOFT = partial(select.softmax, temperature=TAU)


def ours(name):
  """An array `[out in]` of the public code as a kernel."""
  return jnp.asarray(GOLDEN[name]).T


def our_logits(name):
  """Numbers `[out · in / 4, 6]` of the public code for our groups `[in / 4, out, 6]`."""
  out, width = GOLDEN["weight"].shape
  return jnp.swapaxes(jnp.asarray(GOLDEN[name]).reshape(out, width // 4, 6), 0, 1)


def test_the_prior_is_that_of_the_public_code():
  view = learned_patterns()
  params = {"kernel": ours("weight")}
  learned, before = view.begin(params, {"kernel": our_logits("noise")}, {})
  np.testing.assert_allclose(learned["kernel"], our_logits("logits"), rtol=1e-4, atol=1e-7)
  hidden = along_inputs(jnp.asarray(BOOK)[before["kernel"]])
  np.testing.assert_array_equal(hidden, ~ours("magnitude"))
  np.testing.assert_array_equal(pattern_of(hidden, BOOK), before["kernel"])
  kept = view.hard(params, {"kernel": our_logits("logits")})["kernel"] != 0
  np.testing.assert_array_equal(kept, ours("hard") == 1)


@pytest.mark.parametrize("step", [0, 700, 1990])
def test_soft_masks_their_gradients_and_the_reward_are_those_of_the_public_code(step, monkeypatch):
  monkeypatch.setattr(
    "maskjax.weights.patterns.gumbel",
    lambda key, logits: logits + our_logits(f"{step}/gumbel").reshape(-1),
  )
  reward = Moving(schedule.at_step(schedule.linear(1e-2, 0.0), STEPS))
  view = learned_patterns(scale=SCALE, select=SOFT, reward=reward)
  weight, slope = ours("weight"), ours("slope")

  def loss(logits):
    seen, terms = view.soft({"kernel": weight}, {"kernel": logits}, KEY, step)
    return jnp.sum(seen["kernel"] * slope) + terms["norm"].sum / terms["norm"].count, seen

  gradient, seen = jax.grad(loss, has_aux=True)(our_logits("logits"))
  np.testing.assert_allclose(seen["kernel"] / weight, ours(f"{step}/soft"), rtol=2e-3, atol=1e-6)
  expected = np.asarray(our_logits(f"{step}/gradient"))
  np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize(("keep", "of"), [(1, 2), (2, 4), (1, 4), (3, 8)])
def test_hard_masks_keep_exactly_so_many_of_every_group_and_soft_ones_as_much(keep, of):
  params = {"a": jnp.ones((16, 5)), "deep": {"b": jnp.ones((3, 8, 2))}, "bias": jnp.ones(5)}
  view = learned_patterns(keep=keep, of=of, select=partial(select.softmax, temperature=0.5))
  learned, _ = view.init(params, KEY)
  assert learned["a"].shape == (16 // of, 5, len(patterns(keep, of)))
  soft, hard = view.soft(params, learned, KEY, 0)[0], view.hard(params, learned)
  for tree in (soft, hard):
    np.testing.assert_array_equal(tree["bias"], 1)
    for leaf in (tree["a"], tree["deep"]["b"]):
      groups = leaf.reshape(*leaf.shape[:-2], -1, of, leaf.shape[-1])
      np.testing.assert_allclose(groups.sum(-2), keep, rtol=1e-5)
      assert leaf.min() >= 0
      assert leaf.max() <= 1 + 1e-6
  assert set(np.unique(hard["a"])) == {0.0, 1.0}
  assert set(np.unique(soft["a"])) - {0.0, 1.0}


def test_cold_masks_are_drawn_as_often_as_their_probability():
  logits = jnp.array([0.0, 1.0, -1.0, 0.5, 0.0, 2.0])
  many = jnp.broadcast_to(logits, (1, 20_000, 6))
  view = learned_patterns(scale=0.5, select=partial(select.softmax, temperature=1e-4))
  seen, _ = view.soft({"kernel": jnp.ones((4, 20_000))}, {"kernel": many}, KEY, 0)
  drawn = pattern_of(seen["kernel"] < 0.5, BOOK)
  share = np.bincount(drawn.ravel(), minlength=6) / drawn.size
  np.testing.assert_allclose(share, jax.nn.softmax(0.5 * logits), atol=0.012)
  again, _ = view.soft({"kernel": jnp.ones((4, 20_000))}, {"kernel": many}, jax.random.key(1), 0)
  assert (again["kernel"] != seen["kernel"]).any()


def test_the_prior_prefers_near_patterns_and_without_strength_is_none():
  logits = 0.01 * jax.random.normal(KEY, (4000, 6))
  drawn = jnp.arange(4000) % 6
  near = nearer(logits, drawn, BOOK, 3.0)
  share = float((near.argmax(-1) == drawn).mean())
  assert 0.9 < share < 1
  assert (nearer(logits, drawn, BOOK, 100.0).argmax(-1) == drawn).all()
  np.testing.assert_array_equal(nearer(logits, drawn, BOOK, 0.0), logits)


# A linear layer whose inputs go together: what a weight is worth depends on which others are kept.
WIDTH, OUT = 8, 16


def layer():
  """Weights, and the covariance of the inputs that they meet."""
  mix = jax.random.normal(jax.random.key(2), (WIDTH, 5))
  spread = jnp.exp(jax.random.normal(jax.random.key(3), (WIDTH, 1)))
  covariance = (spread * mix) @ (spread * mix).T + 0.05 * jnp.eye(WIDTH)
  return jax.random.normal(jax.random.key(4), (WIDTH, OUT)), covariance


def error(kernel, weight, covariance):
  """The expected squared error of every output."""
  off = kernel - weight
  return jnp.sum(off * (covariance @ off), axis=0)


def best(weight, covariance):
  """The least error of every output that any 2:4 mask leaves, by trying all 36."""
  masks = [np.concatenate(pair) for pair in itertools.product(~BOOK, repeat=WIDTH // 4)]
  return jnp.stack([error(weight * m[:, None], weight, covariance) for m in masks]).min(axis=0)


def regression():
  """A task of one layer that is asked for what it gave before."""
  weight, covariance = layer()

  def loss(variables, batch, key, step):
    each = error(variables["params"]["kernel"], weight, covariance)
    return {"error": Term(each.sum(), jnp.float32(1))}, Aux()

  return Task(init=lambda key, batch: {"params": {"kernel": weight}}, loss=loss)


def learn(steps=400, rate=0.01, **options):
  """Variables before and after learning the masks of the layer."""
  scale = Moving(schedule.at_step(schedule.linear(1e2, 5e2), steps))
  soft = partial(
    select.softmax, temperature=Moving(schedule.at_step(schedule.linear(4.0, 0.05), steps))
  )
  task = weights.viewed(regression(), learned_patterns(scale=scale, select=soft, **options))
  begun = task.prepare(task.init(KEY, None), ())
  tx = optax.adam(rate)

  def step(carry, i):
    params, state = carry
    value = lambda params: sum(
      t.sum for t in task.loss({**begun, "params": params}, None, KEY, i)[0].values()
    )
    updates, state = tx.update(jax.grad(value)(params), state, params)
    return (optax.apply_updates(params, updates), state), None

  begin = begun["params"], tx.init(begun["params"])
  (params, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, jnp.arange(steps)))(begin)
  return task, begun, {**begun, "params": params}


def left(task, variables):
  """The error that the hard masks leave, over all outputs."""
  return float(error(task.final(variables)["params"]["kernel"], *layer()).sum())


def test_learned_masks_find_what_one_shot_criteria_miss():
  optimum = float(best(*layer()).sum())
  task, _, after = learn()
  magnitude = left(*learn(steps=1, prior=1e3, rate=0.0)[::2])
  random = left(*learn(steps=1, prior=1e3, rate=0.0, score=weights.random)[::2])
  learned = left(task, after)
  assert optimum <= learned
  assert learned - optimum < 0.1 * (magnitude - optimum) < 0.1 * (random - optimum)
  found = task.figures(after, 400)
  assert 0.1 < found["changed"] < 1
  assert found["probability"] > 0.9
  weight, kernel = layer()[0], task.final(after)["params"]["kernel"]
  np.testing.assert_array_equal(after["params"]["kernel"], weight)
  np.testing.assert_array_equal(kernel, jnp.where(kernel == 0, 0, weight))
  assert ((kernel != 0).reshape(2, 4, OUT).sum(1) == 2).all()


def test_figures_tell_of_the_first_masks_and_of_how_sure_they_are():
  task, begun, _ = learn(steps=1, prior=1e3)
  assert task.figures(begun, 0)["changed"] == 0
  task, begun, _ = learn(steps=1, prior=0.0)
  assert task.figures(begun, 0)["changed"] > 0.5
  view = learned_patterns(scale=2.0)
  logits = {"kernel": jnp.log(jnp.array([[[3.0, 1, 1, 1, 1, 1]]])) / 2}
  figures = view.figures(logits, {"kernel": jnp.array([[0]], jnp.uint8)}, 0)
  np.testing.assert_allclose(figures["probability"], 3 / 8, rtol=1e-5)


@pytest.mark.parametrize(
  ("options", "says"),
  [
    ({"keep": 4}, "1 to 3 can be kept"),
    ({"select": partial(select.per_block, size=(2,))}, "per_block needs grid"),
    ({"of": 8, "keep": 3}, "groups of 8 inputs do not divide axis -2 of kernel"),
    ({"score": weights.wanda}, "wanda needs input_norms"),
    ({"where": lambda params: {"kernel": False}}, "no weights to hide"),
  ],
)
def test_what_cannot_work_is_named(options, says):
  params = {"kernel": jnp.ones((4, 3))}

  def begin():
    view = learned_patterns(**options)
    view.begin(params, view.init(params, KEY)[0], {})

  with pytest.raises(BadInput, match=says):
    begin()
