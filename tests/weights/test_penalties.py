"""Penalties of weights: the gradient of the tanh penalty by numpy, and what a task's loss gets."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import select, weights
from maskjax.bind import Moving
from maskjax.errors import BadInput
from maskjax.reduce import Term
from maskjax.task.base import Aux, Task

RNG = np.random.default_rng(0)
LEAVES = {"a": RNG.normal(size=(6, 5)), "b": 3 * RNG.normal(size=(4, 2, 3)), "c": np.zeros((1, 2))}
LEAVES = {name: x.astype(np.float32) for name, x in LEAVES.items()}
VECTOR = np.concatenate([x.ravel() for x in LEAVES.values()]).astype(np.float64)
RATIOS = (0.1, 0.5, 0.9)


def slopes(vector, ratio):
  """By numpy, in float64: L1's gradient times what the slope of the tanh makes of it."""
  size, s, most = np.abs(vector), *at_zero(vector, ratio)
  return np.sign(vector) * most / np.cosh(s * size) ** 2


def at_zero(vector, ratio):
  """The scale inside the tanh, and the slope that weights next to zero have."""
  size = np.abs(vector)
  s = 0.6585 / np.sort(size)[int(ratio * len(size))]
  return s, s * size.sum() / np.tanh(s * size).sum()


@pytest.fixture(scope="module")
def found():
  """Value and gradient at each ratio, in one program."""
  both = lambda ratio: jax.value_and_grad(partial(weights.tanh_penalty, ratio=ratio))
  run = jax.jit(lambda leaves: [both(ratio)(leaves) for ratio in RATIOS])
  return dict(zip(RATIOS, jax.device_get(run(LEAVES)), strict=True))


@pytest.mark.parametrize("ratio", RATIOS)
def test_gradient_is_that_of_one_vector_and_the_value_is_zero(found, ratio):
  value, slope = found[ratio]
  assert value == 0
  got = np.concatenate([slope[name].ravel() for name in LEAVES])
  wanted = slopes(VECTOR, ratio)
  # Beyond the knee 1 - tanh² cancels.
  np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=5e-7 * np.abs(wanted).max())
  assert (slope["c"] == 0).all()


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_smaller_a_weight_the_more_it_is_pulled_and_the_largest_hardly_are(found, ratio):
  """L1 pulls at all alike, and a random choice pulls at large ones as at small ones."""
  slope = np.concatenate([found[ratio][1][name].ravel() for name in LEAVES])
  order = np.argsort(np.abs(VECTOR))[2:]  # without the two that are zero
  pulls = np.abs(slope)[order]
  assert (np.diff(pulls) <= 0).all()
  knee = int(ratio * len(VECTOR)) - 2
  # The slope of a tanh at its knee is two thirds of that at zero.
  np.testing.assert_allclose(pulls[knee], 2 / 3 * at_zero(VECTOR, ratio)[1], rtol=1e-4)
  if ratio < 0.6:
    assert pulls[-1] < 0.02 * pulls[0]


def test_where_the_knee_is_at_zero_there_is_no_gradient():
  leaves = {"w": jnp.array([0.0, 0.0, 0.0, 2.0, -3.0])}
  value, slope = jax.value_and_grad(partial(weights.tanh_penalty, ratio=0.4))(leaves)
  assert value == 0
  assert (slope["w"] == 0).all()


@pytest.mark.parametrize("ratio", [-0.1, 1.0])
def test_a_ratio_that_is_none_is_refused(ratio):
  with pytest.raises(BadInput, match="tanh_penalty: ratio"):
    weights.tanh_penalty({"w": jnp.ones(3)}, ratio=ratio)


def task_of(name="recover"):
  """A task whose own loss is twice the sum of all biases."""
  own = lambda v, *_: ({name: Term(2 * v["params"]["bias"].sum(), jnp.float32(1))}, Aux())
  return Task(init=lambda *_: {}, loss=own)


def test_a_task_gets_a_term_of_the_weights_that_are_meant():
  params = {"bias": jnp.ones(3), "kernel": jnp.array([[1.0, -2.0]]), "other": jnp.ones((2, 2))}
  scale = Moving(lambda step: 0.5 * step)
  only = lambda params: {name: name == "kernel" for name in params}
  for where, worth in ((only, 3.0), (None, 7.0)):
    made = weights.penalized(task_of(), weights.l1_penalty, where=where, scale=scale)
    cost = lambda params, made=made: sum(
      term.sum for term in made.loss({"params": params}, {}, None, 4)[0].values()
    )
    value, slope = jax.value_and_grad(cost)(params)
    assert value == 6 + 2 * worth
    assert slope["kernel"].tolist() == [[2.0, -2.0]]
    assert slope["bias"].tolist() == [2.0, 2.0, 2.0]
    assert (slope["other"] == (2 if where is None else 0)).all()


def test_a_loss_of_the_same_name_is_refused():
  made = weights.penalized(task_of("penalty"), weights.l1_penalty)
  with pytest.raises(BadInput, match="'penalty'"):
    made.loss({"params": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(3)}}, {}, None, 0)


def test_one_selection_from_all_layers_hides_what_numpy_hides():
  masks = weights.selected_masks(LEAVES, select=partial(select.top, ratio=0.6, rounding="down"))
  hidden = np.concatenate([np.asarray(masks[name]).ravel() for name in LEAVES])
  wanted = np.zeros(len(VECTOR), bool)
  wanted[np.argsort(np.abs(VECTOR), kind="stable")[: int(0.6 * len(VECTOR))]] = True
  np.testing.assert_array_equal(hidden, wanted)
  shares = [np.asarray(masks[name]).mean() for name in "ab"]
  assert shares[0] > 0.6 > shares[1]
