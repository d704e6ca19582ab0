"""Weights held from the first step on, within given masks, dropped and grown."""

import functools
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import schedule, select, weights
from maskjax.bind import Moving
from maskjax.errors import BadInput

SHAPES = {"a": {"kernel": (8, 6)}, "b": [(5, 7), None], "norm": (6,)}
STEPS, DROP = 6, 0.3
NAMES = ("a/kernel", "b/0")
RATIO = Moving(schedule.at_step(schedule.linear(0.4, 0.7), STEPS))
clipped = optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(0.1, weight_decay=0.5))
CASES = {
  "momentum": optax.chain(optax.add_decayed_weights(0.3), optax.sgd(0.1, 0.9, nesterov=True)),
  "several, bf16": optax.MultiSteps(clipped, every_k_schedule=2),
  "grows": optax.stateless(lambda u, p: jax.tree.map(jnp.ones_like, u)),
}


def held(name):
  """An optimiser that keeps to random masks, prunes within them and grows by gradients."""
  within = partial(weights.fixed_masks, density=0.7, ratios=weights.erk, seed=3)
  top = partial(select.top, ratio=RATIO)
  rest = dict(within=within, drop=DROP, grow=weights.gradient)
  return weights.hold(CASES[name], select=top, **rest)


def slopes(params, noise):
  return jax.tree.map(lambda p: noise[0] * jnp.cos(7 * p) + noise[1] * _wave(p), params)


def _wave(p):
  return jnp.sin(jnp.arange(p.size, dtype=p.dtype)).reshape(p.shape)


def train(name, params, noise):
  """Parameters, average, masks, gradients and inner state before and after each step."""
  tx, dtype = held(name), jnp.bfloat16 if "bf16" in name else jnp.float32
  params = jax.tree.map(lambda p: p.astype(dtype), params)
  state = tx.init(params)
  params = weights.begun(params, state)

  def step(carry, noise):
    params, state, average = carry
    grads = jax.tree.map(lambda g, p: g.astype(p.dtype), slopes(params, noise), params)
    updates, state = tx.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    mixed = jax.tree.map(lambda a, p: (0.9 * a + 0.1 * p).astype(p.dtype), average, params)
    carry = params, state, weights.settle(mixed, params, state)
    return carry, (*carry, weights.masks(state), grads)

  first = params, state, params
  _, each = jax.lax.scan(step, first, noise)
  return (*first, weights.masks(state)), each


@functools.cache
def runs():
  """All cases, in one program."""
  rng = np.random.default_rng(0)
  draw = lambda shape: rng.standard_normal(shape, np.float32)
  params = jax.tree.map(draw, SHAPES, is_leaf=lambda x: isinstance(x, tuple))
  noise = rng.standard_normal((STEPS, 2), np.float32)
  program = jax.jit(lambda p, n: {case: train(case, p, n) for case in CASES})
  return jax.device_get(program(params, noise))


def named(tree):
  """The two leaves with masks."""
  return {"a/kernel": np.asarray(tree["a"]["kernel"]), "b/0": np.asarray(tree["b"][0])}


@pytest.mark.parametrize("case", CASES)
def test_what_is_hidden_is_zero_from_before_the_first_step_in_the_average_too(case):
  (params, state, _, masks), (after, _, average, hidden, _) = runs()[case]
  kept = weights.erk({"a/kernel": (8, 6), "b/0": (5, 7)}, density=0.7)
  for name, outer in named(masks).items():
    assert (~outer).sum() == round(kept[name] * outer.size)
    assert (named(params)[name][outer] == 0).all()
    assert (named(params)[name][~outer] != 0).all()
    each = named(hidden)[name]
    assert each[:, outer].all()
    for tree in (after, average):
      assert (named(tree)[name][each] == 0).all()
    before = np.stack([outer, *each[:-1]])
    # Whatever the optimiser did while they were hidden.
    assert (named(after)[name][before & ~each] == 0).all()
    assert (named(after)[name][~before & ~each] != 0).mean() > 0.9
  assert state.outer is not None


def test_no_more_are_hidden_than_the_schedule_says_or_the_given_masks():
  (_, _, _, masks), (_, _, _, hidden, _) = runs()["grows"]
  for name, outer in named(masks).items():
    shares = np.linspace(0.4, 0.7, STEPS + 1)[1:]
    expected = np.maximum(np.round(shares * outer.size), outer.sum())
    np.testing.assert_array_equal(named(hidden)[name].sum((1, 2)), expected)


def test_the_smallest_go_and_those_of_largest_gradient_come_within_the_given_masks():
  (*_, masks), (after, _, _, hidden, grads) = runs()["momentum"]
  grown = 0
  for name, outer in named(masks).items():
    each = [outer, *named(hidden)[name]]
    for i, (before, now) in enumerate(itertools.pairwise(each)):
      back = before & ~now
      grown += back.sum()
      size = np.abs(named(grads)[name][i])
      # Nothing that stays hidden inside the masks has a larger gradient than what came back.
      rest = now & ~outer
      if back.any() and rest.any():
        assert size[back].min() >= size[rest].max()
      # What is living still, and was before, is not smaller than what was living and is not now.
      value = np.abs(named(after)[name][i])
      assert (value[back] == 0).all()
  assert grown > 4


@pytest.mark.parametrize("case", ["momentum", "several, bf16"])
def test_what_the_optimiser_keeps_of_a_grown_weight_begins_at_zero(case):
  (_, _, _, masks), (_, state, _, hidden, _) = runs()[case]
  if case == "momentum":
    kept = [state.inner[1][0].trace]
  else:
    adam = state.inner.inner_opt_state[1][0]
    kept = [state.inner.acc_grads, adam.mu, adam.nu]
  checked = 0
  for name, outer in named(masks).items():
    each = np.stack([outer, *named(hidden)[name]])
    back = each[:-1] & ~each[1:]
    for of in kept:
      assert (named(of)[name][back] == 0).all()
    assert (named(kept[-1])[name][~each[1:]] != 0).any()
    checked += back.sum()
  assert checked > 4


def test_random_masks_alone_stay_what_they_are_and_the_weights_train():
  within = partial(weights.fixed_masks, density=0.25, seed=1)
  tx = weights.hold(optax.sgd(0.5), select=partial(select.top, ratio=0.0), within=within)
  params = {"w": np.ones((6, 6), np.float32)}

  @jax.jit
  def run(params):
    state = tx.init(params)
    begun = weights.begun(params, state)
    updates, after = tx.update(begun, state, begun)
    return weights.masks(state), weights.masks(after), optax.apply_updates(begun, updates)

  first, later, moved = jax.device_get(run(params))
  np.testing.assert_array_equal(first["w"], later["w"])
  assert first["w"].sum() == 27
  np.testing.assert_array_equal(moved["w"], np.where(first["w"], 0, 0.5))


def test_an_optimiser_that_hides_nothing_before_its_first_choice_begins_as_given():
  params = {"w": np.ones((4, 4), np.float32)}
  top = partial(select.top, ratio=0.5)
  frozen = weights.update_only(optax.sgd(0.1), select=top, score=weights.random)
  for tx in (weights.hold(optax.sgd(0.1), select=top), frozen):
    np.testing.assert_array_equal(weights.begun(params, tx.init(params))["w"], 1)


@pytest.mark.parametrize(
  ("given", "says"),
  [
    ({"drop": 0.3}, "drop and grow go together"),
    ({"grow": weights.gradient}, "drop and grow go together"),
    ({"within": lambda leaves: leaves, "units": (0, 1)}, "units are hidden whole"),
    ({"within": lambda leaves: {}}, r"masks are wanted of \['w'\]"),
    ({"within": partial(weights.fixed_masks, density=1.5)}, "density must lie in"),
    ({"within": partial(weights.fixed_masks, density=0.5, score=weights.fisher)}, "fisher needs"),
    ({"drop": 0.3, "grow": lambda params, loss: params}, "needs loss; hold offers"),
  ],
)
def test_what_cannot_be_is_refused(given, says):
  tx = lambda: weights.hold(optax.sgd(0.1), select=partial(select.top, ratio=0.5), **given)
  with pytest.raises(BadInput, match=says):
    jax.eval_shape(tx().init, {"w": jnp.ones((2, 2))})
