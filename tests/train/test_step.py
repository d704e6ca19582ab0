"""One training step: microbatches change nothing, and the average follows its formula."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import score, select
from maskjax.errors import BadInput
from maskjax.keys import keys, stream
from maskjax.record import Record
from maskjax.reduce import term
from maskjax.task.base import Aux, Task, total
from maskjax.train.setup.build import make_task
from maskjax.train.state import start
from maskjax.train.step import make_step

KEY = jax.random.key(0)
RUNS = runpy.run_path(str(pathlib.Path(__file__).with_name("test_run.py")))


def normal(*shape):
  """Numbers for a batch."""
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


BATCH = {"position": np.arange(8), "x": normal(8, 6, 3)}


def uneven():
  """A linear model whose asked count varies by example, from none to all, with two terms."""

  def init(key, batch):
    return {"params": {"w": jax.random.normal(key, (3, 2))}, "seen": {"steps": jnp.float32(0)}}

  def loss(variables, batch, key, step):
    drawn = keys(stream(key, "mask", step), batch["position"])
    asked = select.top(score.uniform(drawn, (6,)), count=batch["position"] % 7)
    error = jnp.square(batch["x"] @ variables["params"]["w"]).mean(-1)
    terms = {"first": term(error, asked), "second": term(jnp.sqrt(error), ~asked)}
    return terms, Aux(variables={"seen": {"steps": variables["seen"]["steps"] + 1}})

  return Task(init=init, loss=loss, weights={"second": 0.3})


def test_a_loss_that_couples_examples_refuses_microbatches():
  coupled = uneven()._replace(coupled=True)
  make_step(coupled, optax.sgd(0.1), accumulate=1)
  with pytest.raises(BadInput, match="couples"):
    make_step(coupled, optax.sgd(0.1), accumulate=2)


def test_update_follows_the_new_parameters_and_cannot_replace_them():
  def update(variables, step):
    teacher = 0.5 * variables["seen"]["steps"] + variables["params"]["w"].sum()
    return {"params": {"w": jnp.zeros((3, 2))}, "seen": {"steps": teacher + step}}

  task = uneven()
  plain, told = (make_step(t, optax.sgd(0.1)) for t in (task, task._replace(update=update)))
  state = begun(task, optax.sgd(0.1))
  both = jax.jit(lambda state, batch: (plain(state, batch)[0], told(state, batch)[0]))
  expected, got = both(state, BATCH)
  w = expected.variables["params"]["w"]
  np.testing.assert_array_equal(got.variables["params"]["w"], w)
  np.testing.assert_allclose(got.variables["seen"]["steps"], 0.5 * 1 + np.sum(w), rtol=1e-5)


def test_what_is_held_at_zero_is_zero_in_the_average_too():
  first = lambda average, params, moments: jax.tree.map(lambda x: x.at[0].set(0), average)
  step = jax.jit(make_step(uneven(), optax.sgd(0.1), ema=0.9, held=first))
  state = step(begun(uneven(), optax.sgd(0.1), ema=True), BATCH)[0]
  average = np.asarray(state.ema["params"]["w"])
  assert (average[0] == 0).all()
  assert (average[1:] != 0).all()


def image_task():
  config = {**RUNS["TINY"], "data": {"train": "train"}}
  return make_task(config, Record("image", (8, 8, 1), {"train": 8}))


IMAGES = {"position": np.arange(8), "image": normal(8, 8, 8, 1)}
TASKS = {"uneven": (uneven(), BATCH), "images": (image_task(), IMAGES)}


def begun(task, tx, batch=BATCH, ema=False):
  """The state before the first step."""
  return jax.jit(lambda key, batch: start(task, tx, key, batch, ema=ema))(KEY, batch)


@functools.cache
def take(name, accumulate=1):
  """The state before and after one step of plain descent, whose update is the gradient."""
  task, batch = TASKS[name]
  tx = optax.sgd(1.0)
  before = begun(task, tx, batch)
  after, metrics = jax.jit(make_step(task, tx, accumulate=accumulate))(before, batch)
  return before, after, metrics


@pytest.mark.parametrize(("name", "cuts"), [("uneven", (2, 4, 8)), ("images", (4,))], ids=TASKS)
def test_microbatches_change_neither_gradient_nor_metrics(name, cuts):
  _, whole, metrics = take(name)
  for parts in cuts:
    _, cut, others = take(name, parts)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, cut.variables["params"], whole.variables["params"])
    jax.tree.map(close, others, metrics)
    assert set(others) == set(metrics)


def test_the_gradient_is_that_of_the_ratio_of_sums():
  task = uneven()
  before, after, metrics = take("uneven", 4)

  def objective(params, batch):
    variables = {**before.variables, "params": params}
    terms = task.loss(variables, batch, stream(KEY, "loss"), 0)[0]
    first, second = terms["first"], terms["second"]
    return first.sum / first.count + 0.3 * second.sum / second.count

  value, slope = jax.jit(jax.value_and_grad(objective))(before.variables["params"], BATCH)
  moved = before.variables["params"]["w"] - after.variables["params"]["w"]
  np.testing.assert_allclose(moved, slope["w"], rtol=1e-5, atol=1e-6)
  # Sums of other orders; an asked position more or less is two hundredths.
  np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
  np.testing.assert_allclose(metrics["gradient"], optax.tree.norm(slope), rtol=1e-5)


def test_metrics_and_collections():
  for parts in (1, 4):
    before, after, metrics = take("uneven", parts)
    assert set(metrics) == {"loss", "terms/first", "terms/second", "gradient", "parameters"}
    expected = metrics["terms/first"] + 0.3 * metrics["terms/second"]
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)
    assert all(value.dtype == jnp.float32 for value in metrics.values())
    assert int(after.variables["seen"]["steps"]) == parts
    assert int(after.step) == int(before.step) + 1
    assert (jax.random.key_data(after.key) == jax.random.key_data(before.key)).all()


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_the_average_follows_its_formula(decay):
  task, tx = uneven(), optax.sgd(0.1)
  state = begun(task, tx, ema=bool(decay))
  step = jax.jit(make_step(task, tx, ema=decay))
  average = np.asarray(state.variables["params"]["w"], np.float64)
  for _ in range(5):
    state, _ = step(state, BATCH)
    average = decay * average + (1 - decay) * np.asarray(state.variables["params"]["w"])
  if decay:
    np.testing.assert_allclose(state.ema["params"]["w"], average, rtol=1e-5)
  else:
    assert state.ema == {}


def test_each_step_draws_other_masks_and_the_same_ones_again():
  task, tx = uneven(), optax.sgd(0.0)
  state = begun(task, tx)
  step = jax.jit(make_step(task, tx))
  following, first = step(state, BATCH)
  _, second = step(following, BATCH)
  _, again = step(state, BATCH)
  assert float(first["loss"]) != float(second["loss"])
  assert float(first["loss"]) == float(again["loss"])


def test_a_term_that_nothing_asks_for_weighs_nothing():
  @jax.jit
  def weighed():
    nothing, all_three = (term(jnp.ones(3), jnp.full(3, asked)) for asked in (False, True))
    return total({"a": nothing, "b": all_three}, {"b": 2.0})

  assert float(weighed()) == 2.0
  assert float(total({}, {})) == 0.0
