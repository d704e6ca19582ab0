"""Learned scores: gradients straight through, masks that follow slowly, what is read of them."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import schedule, select, weights
from maskjax.bind import Moving
from maskjax.errors import BadInput
from maskjax.reduce import term
from maskjax.task.base import Aux, Task, with_learned
from maskjax.train.state import start
from maskjax.train.step import make_step

KEY, STEPS = jax.random.key(0), 5
X = np.random.default_rng(1).standard_normal((8, 6), np.float32)
BATCH = {"position": jnp.arange(8), "x": jnp.asarray(X)}
SHAPES = {"one": (6, 5), "two": (5, 7)}
CHANGE = Moving(schedule.at_step(schedule.linear(0.6, 0.2), STEPS))
HALF = partial(select.top, ratio=0.5)


def layers(dtype=jnp.float32):
  """A network of two layers."""

  def init(key, batch):
    rng = np.random.default_rng(2)
    kernels = {k: {"kernel": rng.standard_normal(s, np.float32)} for k, s in SHAPES.items()}
    return {"params": jax.tree.map(lambda x: jnp.asarray(x, dtype), kernels)}

  def loss(variables, batch, key, step):
    params = variables["params"]
    inner = jnp.tanh(batch["x"].astype(dtype) @ params["one"]["kernel"])
    out = (inner @ params["two"]["kernel"]).astype(jnp.float32)
    return {"wave": term(jnp.square(out - 1).sum(-1), batch["position"] % 3 > 0)}, Aux()

  return Task(init=init, loss=loss)


CASES = {
  "microbatches": dict(scope="global", change=CHANGE),
  "learns, bf16": dict(scope="layer", change=0.5, learns=True),
  "within": dict(
    score=weights.random,
    gap=0.0,
    within=partial(weights.fixed_masks, density=0.7, ratios=weights.balanced, seed=5),
  ),
}


def train(case):
  """Variables before and after each step, and what is final of the average and of the weights."""
  task = weights.reparametrized(
    layers(jnp.bfloat16 if "bf16" in case else jnp.float32),
    weights.learned_scores(select=HALF, **CASES[case]),
  )
  decayed = optax.add_decayed_weights(0.05)
  tx = optax.chain(optax.clip_by_global_norm(5.0), decayed, optax.sgd(0.05, momentum=0.9))
  if not CASES[case].get("learns"):
    tx = optax.partition(
      {"trained": tx, "frozen": optax.set_to_zero()},
      {"masks": "trained", "one": "frozen", "two": "frozen"},
    )
  state = start(task, tx, KEY, BATCH, False)
  variables = task.prepare(state.variables, ())
  state = state._replace(variables=variables, opt_state=tx.init(variables["params"]))
  state = state._replace(ema=task.learned(variables))
  step = make_step(task, tx, ema=0.5, accumulate=2 if case == "microbatches" else 1)

  def one(state, _):
    after, _ = step(state, BATCH)
    final = task.final(after.variables), task.final(with_learned(after.variables, after.ema))
    figures = task.scalars(after.variables, 0)
    return after, (after.variables, *(tree["params"] for tree in final), figures)

  _, each = jax.lax.scan(one, state, length=STEPS)
  return variables, *each, task.scalars(state.variables, 0)


@functools.cache
def runs():
  """All cases, in one program."""
  return jax.device_get(jax.jit(lambda: {case: train(case) for case in CASES})())


def hidden(variables, name, which="hidden"):
  """A mask of a leaf from the state, with the steps in front where there are any."""
  return variables["mask_state"][which][name]["kernel"]


@pytest.mark.parametrize("case", CASES)
def test_what_is_seen_of_a_hidden_weight_is_zero_in_the_average_too(case):
  first, after, final, average, *_ = runs()[case]
  for name in SHAPES:
    masks = hidden(after, name)
    for tree in (final, average):
      assert (tree[name]["kernel"][masks] == 0).all()
      assert (tree[name]["kernel"][~masks] != 0).all()
    held = first["params"][name]["kernel"]
    if CASES[case].get("learns"):
      assert (after["params"][name]["kernel"][-1] != held).any()
    else:
      np.testing.assert_array_equal(after["params"][name]["kernel"][-1], held)
    # As many as at first.
    assert set(masks.sum((1, 2))) == {hidden(first, name).sum()}
    assert after["params"]["masks"][name]["kernel"].dtype == np.float32


def test_the_first_mask_is_that_of_the_smallest_weights_of_all_layers():
  first, *_, untouched = runs()["microbatches"]
  kernels = [first["params"][name]["kernel"] for name in SHAPES]
  masks = [hidden(first, name) for name in SHAPES]
  w, m = (np.concatenate([np.ravel(x) for x in many]) for many in (kernels, masks))
  assert m.sum() == round(0.5 * m.size)
  assert np.abs(w[m]).max() < np.abs(w[~m]).min()
  for name, mask in zip(SHAPES, masks, strict=True):
    numbers = first["params"]["masks"][name]["kernel"]
    np.testing.assert_allclose(numbers, np.where(mask, 0.99, 1.0), rtol=1e-6)
  assert untouched["kept_of_first"] == 1


def test_masks_follow_their_numbers_by_a_falling_share_of_what_these_ask_for():
  first, after, *_, figures, _ = runs()["microbatches"]
  exchanged = 0
  for name in SHAPES:
    before = hidden(first, name)
    for i, mask in enumerate(hidden(after, name)):
      numbers = after["params"]["masks"][name]["kernel"][i]
      flat = -numbers.ravel()
      wished = np.zeros(flat.size, bool)
      wished[np.argsort(-flat, kind="stable")[: before.sum()]] = True
      pairs = (wished.reshape(mask.shape) & ~before).sum()
      made = (mask & ~before).sum()
      assert made == np.ceil(np.round((0.6 - 0.08 * i) * pairs, 4))
      exchanged += made
      before = mask
  assert exchanged > 5
  for i, figure in enumerate(figures["kept_of_first"]):
    kept = [(~hidden(first, name), ~hidden(after, name)[i]) for name in SHAPES]
    both = sum((was & now).sum() for was, now in kept)
    np.testing.assert_allclose(figure, both / sum(was.sum() for was, _ in kept), rtol=1e-6)


def test_given_masks_are_kept_to_and_equal_numbers_leave_random_first_masks_alone():
  first, after, *_ = runs()["within"]
  kept = weights.balanced({"one": (6, 5), "two": (5, 7)}, density=0.7)
  for name in SHAPES:
    outer, masks = hidden(first, name, "outer"), hidden(after, name)
    assert (~outer).sum() == round(kept[name] * outer.size)
    assert masks[:, outer].all()
    assert (masks != hidden(first, name)).any()
    assert hidden(first, name).sum() == max(round(0.5 * outer.size), outer.sum())
    assert (first["params"]["masks"][name]["kernel"] == 1).all()


def test_gradients_pass_straight_through_to_all_numbers_and_only_where_asked_to_weights():
  rng = np.random.default_rng(3)
  weight, slope = (rng.standard_normal((4, 3)).astype(np.float32) for _ in range(2))
  weight[0, 0] = 1e-6  # is hidden

  def both(weight, slope):
    found = []
    for learns in (False, True):
      view = weights.learned_scores(select=HALF, learns=learns)
      params = {"w": weight}
      learned, state = view.begin(params, view.init(params, KEY)[0], {})
      seen = lambda w, s: view.soft({"w": w}, s, state, KEY, 0)[0]["w"]  # noqa: B023
      value = lambda w, s: jnp.sum(seen(w, s) * slope)  # noqa: B023
      broken = seen(
        jnp.where(view.hard(params, learned, state)["w"] == 0, jnp.nan, weight), learned
      )
      found.append((seen(weight, learned), broken, *jax.grad(value, (0, 1))(weight, learned)))
    return found

  for seen, broken, to_weights, to_numbers in jax.device_get(jax.jit(both)(weight, slope)):
    masked = np.abs(weight) < np.median(np.abs(weight))
    np.testing.assert_array_equal(seen, np.where(masked, 0, weight))
    np.testing.assert_array_equal(broken, seen)
    np.testing.assert_allclose(to_numbers["w"], slope * weight, rtol=1e-6)
    np.testing.assert_allclose(to_weights, np.where(masked, 0, slope), rtol=1e-6)


@pytest.mark.parametrize(
  ("given", "says"),
  [
    ({"gap": 1.0}, "gap must lie in"),
    ({"score": weights.fisher}, "fisher needs squared_gradients"),
    ({"where": lambda params: {"w": False}}, "no weights to hide"),
    ({"select": partial(select.n_of_m, keep=1)}, "n_of_m needs of"),
  ],
)
def test_what_cannot_work_is_named(given, says):
  params = {"w": jnp.ones((2, 2))}

  def begin(key):
    view = weights.learned_scores(**{"select": HALF, **given})
    return view.begin(params, view.init(params, key)[0], {})

  with pytest.raises(BadInput, match=says):
    jax.eval_shape(begin, KEY)
