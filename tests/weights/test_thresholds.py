"""Thresholds of learned numbers: gates, gradients straight through, what training comes to."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import weights
from maskjax.bind import Moving
from maskjax.errors import BadInput
from maskjax.reduce import term
from maskjax.task.base import Aux, Task, with_learned
from maskjax.train.state import start
from maskjax.train.step import make_step

KEY, STEPS, SHAPE = jax.random.key(0), 60, (6, 5)
RNG = np.random.default_rng(3)
INPUTS = RNG.standard_normal((32, 6), np.float32)
WEIGHTS = np.float32(0.5) * RNG.choice([-1, 1], SHAPE).astype(np.float32)
# What the gates should come to: kept, hidden, turned.
WANTED = np.resize([1, 0, -1], SHAPE)
BATCH = {"position": jnp.arange(32), "x": jnp.asarray(INPUTS)}
GLOROT = dict(start=weights.glorot_numbers, threshold=0.4, of_largest=True)
COST = Moving(lambda step: 0.05 + 0.01 * step)
UNIFORM = dict(start=partial(weights.uniform_numbers, low=-0.1, high=0.3), threshold=0.1)
CASES = {
  "signed": dict(**GLOROT, signed=True),
  "unsigned": GLOROT,
  "microbatches, an absolute threshold": UNIFORM,
  "bf16, the weights learn": dict(**UNIFORM, signed=True, learns=True),
  "microbatches, a cost": dict(**UNIFORM, learns=True, cost=COST, per_feature=True),
}


def gates(numbers, threshold, signed):
  """By numpy: 1, 0 or -1."""
  kept = np.abs(numbers) > threshold if signed else numbers > threshold
  return np.where(kept, np.sign(numbers) if signed else 1, 0)


def test_gates_and_gradients_of_given_numbers():
  numbers = np.array([[0.5, 0.2, -0.2], [-0.6, 0.19, -1.0], [0.0, 0.21, 1.0]], np.float32)
  params, cost = {"kernel": jnp.asarray(numbers + 2)}, np.float32(RNG.normal(size=(3, 3)))
  for signed, of_largest in ((False, False), (True, False), (True, True)):
    view = weights.thresholded_scores(
      start=lambda key, shape: jnp.asarray(numbers),
      threshold=0.2,
      signed=signed,
      of_largest=of_largest,
    )
    learned, state = view.init(params, KEY)
    # The threshold stays when the numbers grow.
    grown = jax.tree.map(lambda x: 1.5 * x, learned)
    see = lambda learned, params, view=view, state=state: jnp.sum(
      cost * view.soft(params, learned, state, None, 0)[0]["kernel"]
    )
    slopes = jax.grad(see, (0, 1))(grown, params)
    wanted = gates(1.5 * numbers, np.float32(0.2), signed)
    seen = view.hard(params, grown, state)["kernel"]
    np.testing.assert_array_equal(seen, params["kernel"] * wanted)
    np.testing.assert_allclose(slopes[0]["kernel"], cost * params["kernel"], rtol=1e-6)
    np.testing.assert_allclose(slopes[1]["kernel"], cost * wanted, rtol=1e-6)


@pytest.mark.parametrize("signed", [False, True])
def test_a_cost_pulls_at_all_numbers_beside_gradients_of_unit_scale_in_each_feature(signed):
  rng = np.random.default_rng(0)
  numbers, slopes = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
  slopes *= np.float32([1e-30, 1e-3, 1.0, 0.0, 1e30])  # One feature has none.
  params, own = {"kernel": jnp.ones((3, 4, 5))}, {"kernel": jnp.asarray(numbers)}
  terms, pulls, told = [], [], []
  for per_feature in (False, True):
    view = weights.thresholded_scores(
      start=lambda key, shape: own["kernel"], threshold=0.2, signed=signed, cost=COST,
      per_feature=per_feature,
    )  # fmt: skip
    learned, state = view.init(params, KEY)
    cost = lambda x, v=view, s=state: v.soft(params, x, s, None, 3)[1]["connections"]
    terms.append(cost(learned))
    pulls.append(jax.grad(lambda x, cost=cost: cost(x).sum)(learned)["kernel"])
    if per_feature:
      told = view.gradients({"kernel": jnp.asarray(slopes)}, learned, state, 3)["kernel"]
  kept = (np.abs(numbers) if signed else numbers) > 0.2
  pulled = np.float32(0.08) * np.where(signed & (numbers < 0), -1, 1)
  for found in terms:
    np.testing.assert_allclose(found, [0.08 * kept.sum(), 1], rtol=1e-6)
  np.testing.assert_allclose(pulls[0], pulled, rtol=1e-6)
  # Elsewhere it comes once the gradients of the whole batch are normalised.
  assert not pulls[1].any()
  size = np.sqrt(np.mean(np.square(slopes, dtype=np.float64), axis=(0, 1)))
  even = slopes / np.where(size > 0, size, 1)
  np.testing.assert_allclose(told, even + pulled, rtol=1e-5)


@functools.cache
def trained(case):
  """After each step: variables, what is final of weights and average, losses, figures."""
  kind = jnp.bfloat16 if "bf16" in case else jnp.float32

  def init(key, batch):
    return {"params": {"layer": {"kernel": jnp.asarray(WEIGHTS, kind)}}}

  def loss(variables, batch, key, step):
    x, kernel = batch["x"].astype(kind), variables["params"]["layer"]["kernel"]
    gap = (x @ kernel - x @ jnp.asarray(WEIGHTS * WANTED, kind)).astype(jnp.float32)
    return {"fit": term(jnp.square(gap).sum(-1), batch["position"] >= 0)}, Aux()

  view = weights.thresholded_scores(**CASES[case])
  task = weights.reparametrized(Task(init=init, loss=loss), view)
  decayed = optax.add_decayed_weights(1e-3)
  tx = optax.chain(optax.clip_by_global_norm(5.0), decayed, optax.sgd(0.02, momentum=0.9))
  if not CASES[case].get("learns"):
    frozen = {"trained": tx, "frozen": optax.set_to_zero()}
    tx = optax.partition(frozen, {"masks": "trained", "layer": "frozen"})
  state = start(task, tx, KEY, BATCH, False)
  state = state._replace(ema=task.learned(state.variables))
  step = make_step(task, tx, ema=0.5, accumulate=2 if "microbatches" in case else 1)

  def one(state, _):
    after, metrics = step(state, BATCH)
    final = task.final(after.variables), task.final(with_learned(after.variables, after.ema))
    finals = [tree["params"]["layer"]["kernel"] for tree in final]
    return after, (
      after.variables,
      finals,
      after.ema,
      metrics["loss"],
      task.scalars(after.variables, 0),
    )

  return jax.device_get(jax.jit(lambda s: jax.lax.scan(one, s, length=STEPS)[1])(state))


@pytest.mark.parametrize("case", CASES)
def test_after_every_step_hidden_weights_are_zero_and_others_as_they_were(case):
  variables, (final, average), ema, _, figures = trained(case)
  limits, signed = variables["mask_state"]["threshold"], CASES[case].get("signed", False)
  layer = lambda tree: np.float32(tree["params"]["layer"]["kernel"])
  limit = limits["layer"]["kernel"][:, None, None]
  assert (limit == limit[0]).all()
  for seen, tree in ((final, variables), (average, ema)):
    numbers = tree["params"]["masks"]["layer"]["kernel"]
    wanted = gates(numbers, limit, signed)
    np.testing.assert_array_equal(np.float32(seen), layer(tree) * wanted)
  untouched = (layer(variables) == WEIGHTS).all()
  assert untouched != CASES[case].get("learns", False)
  first = variables["mask_state"]["first"]["layer"]["kernel"]
  now = gates(variables["params"]["masks"]["layer"]["kernel"], limit, signed)
  np.testing.assert_allclose(figures["changed"], (now != first).mean((1, 2)), rtol=1e-6)
  if signed:
    turned = (now < 0).sum((1, 2)) / (now != 0).sum((1, 2))
    np.testing.assert_allclose(figures["turned"], turned, rtol=1e-6)


def test_wrong_signs_are_turned_and_without_signs_they_cannot_be():
  for case in ("signed", "unsigned"):
    _, (final, _), _, loss, _ = trained(case)
    at_end = final[-1] / WEIGHTS
    if case == "signed":
      np.testing.assert_array_equal(at_end, WANTED)
      assert loss[-1] < 1e-9
    else:
      assert set(np.unique(at_end)) == {0, 1}
      assert loss[-1] > 0.1


def test_arguments_that_cannot_work_are_refused():
  with pytest.raises(BadInput, match="a threshold of absolute values is not negative, got -0"):
    weights.thresholded_scores(**{**GLOROT, "threshold": -0.1})
  with pytest.raises(BadInput, match="needs"):
    weights.thresholded_scores(start=lambda key, width: key, threshold=0.0)
