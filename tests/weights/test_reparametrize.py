"""A task that sees its weights masked: what is trained, what is read, what is left."""

import inspect
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import select, weights
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.reduce import Term, term
from maskjax.task.base import Aux, Task
from maskjax.task.prepare import Statistic, prepared
from maskjax.train.state import start
from maskjax.train.step import make_step
from maskjax.view.reconstruction import reconstruction
from maskjax.weights.patterns import learned_patterns

KEY = jax.random.key(0)
X = np.random.default_rng(1).standard_normal((8, 4), np.float32)
BATCH = {"position": jnp.arange(8), "x": jnp.asarray(X)}
SOFT = partial(select.softmax, temperature=0.7)


def linear(part="dense"):
  """A layer that squares, with a counter that follows updates, and everything that reads."""
  shape = {part: {"kernel": (4, 3), "bias": (3,)}}

  def init(key, batch):
    draw = lambda shape: 1 + jax.random.uniform(key, shape)
    params = jax.tree.map(draw, shape, is_leaf=lambda x: isinstance(x, tuple))
    return {"params": params, "seen": {"steps": jnp.float32(0)}}

  def apply(variables, batch):
    own = variables["params"][part]
    assert set(variables) <= {"params", "seen", "prepared"}
    assert set(variables["params"]) == {part}
    return batch["x"] @ own["kernel"] + own["bias"]

  def loss(variables, batch, key, step):
    asked = batch["position"] % 3 > 0
    return {"square": term(jnp.square(apply(variables, batch)).sum(-1), asked)}, Aux()

  def update(variables, step):
    apply(variables, BATCH)
    return {**variables, "seen": {"steps": variables["seen"]["steps"] + 1}}

  features = lambda variables, batch: {"mean": apply(variables, batch)}
  return Task(init=init, loss=loss, answers={"predict": apply, "features": features}, update=update)


def reparametrized(task=None, **options):
  """The layer with learned masks of its kernel."""
  options = {"scale": 50.0, "select": SOFT, "reward": 0.01, **options}
  return weights.reparametrized(linear() if task is None else task, learned_patterns(**options))


def test_only_masks_are_trained_and_everything_but_the_loss_reads_hard_ones():
  task = reparametrized()
  state = start(task, optax.sgd(0.1), KEY, BATCH, False)
  step = jax.jit(make_step(task, optax.sgd(0.1)))
  after, metrics = step(state, BATCH)
  before, now = state.variables["params"], after.variables["params"]
  jax.tree.map(np.testing.assert_array_equal, before["dense"], now["dense"])
  assert (before["masks"]["dense"]["kernel"] != now["masks"]["dense"]["kernel"]).any()
  assert set(metrics) == {"loss", "terms/square", "terms/norm", "gradient", "parameters"}
  assert metrics["terms/norm"] < 0
  assert after.variables["seen"]["steps"] == 1
  assert set(after.variables) == {"params", "seen", "mask_state"}

  plain = task.final(after.variables)
  kernel = plain["params"]["dense"]["kernel"]
  assert set(plain) == {"params", "seen"}
  assert ((kernel == 0).sum(0) == 2).all()
  expected = linear().answers["predict"](plain, BATCH)
  for variables in (after.variables, plain):  # what is final is final
    np.testing.assert_array_equal(task.answers["predict"](variables, BATCH), expected)
    np.testing.assert_array_equal(task.answers["features"](variables, BATCH)["mean"], expected)
  assert jax.tree.structure(task.final(plain)) == jax.tree.structure(plain)
  assert set(task.scalars(after.variables, 1)) == {"changed", "probability"}


def test_hidden_weights_whatever_they_are_reach_nothing_that_is_read():
  task = reparametrized()
  variables = task.init(KEY, BATCH)
  kernel = variables["params"]["dense"]["kernel"]
  hidden = task.final(variables)["params"]["dense"]["kernel"] == 0
  broken = jax.tree.map(lambda x: x, variables)
  broken["params"]["dense"]["kernel"] = jnp.where(hidden, jnp.nan, kernel)
  np.testing.assert_array_equal(
    task.answers["predict"](broken, BATCH), task.answers["predict"](variables, BATCH)
  )


def test_every_answer_whatever_its_name_reads_hard_masks_and_takes_all_arguments():
  def ask(variables, batch, hidden=None, *, step=0):
    return variables["params"]["dense"]["kernel"], hidden, step

  names = ("features", "views", "infill", "attention", "sample", "describe", "invented")
  task = reparametrized(linear()._replace(answers=dict.fromkeys(names, ask)))
  variables = task.init(KEY, BATCH)
  hard = task.final(variables)["params"]["dense"]["kernel"]
  assert (hard == 0).any()
  assert set(task.answers) == set(names)
  for name, answer in task.answers.items():
    kernel, *told = answer(variables, BATCH, hidden=7, step=3)
    np.testing.assert_array_equal(kernel, hard, err_msg=name)
    assert told == [7, 3]
    assert answer(variables, BATCH, 7)[1:] == (7, 0)
    assert inspect.signature(answer) == inspect.signature(ask)


def test_pictures_are_drawn_at_the_step_of_the_weights_and_with_a_mask_of_the_callers_own():
  record = Record("image", (4, 4, 1), {"test": 3}, (), (0.5,), (0.2,))
  batch = {"image": np.zeros((3, 4, 4, 1)), "valid": np.ones(3, bool)}

  def views(variables, batch, key, step=0, hidden=None):
    image = jnp.zeros((3, 4, 4, 1)) + step
    return {"input": image, "seen": image if hidden is None else jnp.where(hidden, jnp.nan, image)}

  task = reparametrized(linear()._replace(answers={"views": views}))
  variables = task.init(KEY, BATCH)

  def drawn(step):
    pictures = {}
    fields = dict(task=task, variables=variables, key=KEY, record=record, step=step)
    reconstruction(
      SimpleNamespace(
        **fields,
        examples=lambda *_: [batch],
        mesh=SimpleNamespace(get=jax.device_get),
        picture=pictures.__setitem__,
      )
    )
    return pictures["reconstruction"]

  assert (drawn(0) != drawn(1)).any()
  assert np.isnan(task.answers["views"](variables, batch, KEY, hidden=True)["seen"]).all()


def test_microbatches_draw_the_same_masks_and_change_nothing():
  task = reparametrized()
  state = start(task, optax.sgd(0.1), KEY, BATCH, False)
  whole, parts = (jax.jit(make_step(task, optax.sgd(0.1), accumulate=n)) for n in (1, 4))
  (one, first), (other, second) = whole(state, BATCH), parts(state, BATCH)
  close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
  jax.tree.map(close, one.variables["params"], other.variables["params"])
  for name in ("loss", "terms/square", "terms/norm"):
    close(first[name], second[name])


def test_masks_are_drawn_anew_at_every_step_and_alike_for_the_same_one():
  task = reparametrized()
  variables = task.init(KEY, BATCH)
  value = lambda step: task.loss(variables, BATCH, KEY, step)[0]["square"].sum
  assert value(3) == value(3)
  assert value(3) != value(4)


def test_statistics_are_measured_on_the_weights_and_told_to_the_criterion():
  def mean_input():
    begin = lambda variables: {"dense": {"kernel": jnp.zeros((4, 1)), "bias": jnp.ones(1)}}

    def add(total, variables, batch, counts):
      assert set(variables["params"]) == {"dense"}
      norms = jnp.array([[0.0], [9.0], [0.0], [9.0]])
      return {"dense": {**total["dense"], "kernel": norms}}

    return Statistic(8, begin, add, lambda total: total)

  task = reparametrized(
    prepared(linear(), input_norms=mean_input()), score=weights.input_scaled_magnitude, prior=1e3
  )
  variables = task.prepare(task.init(KEY, BATCH), iter([BATCH]))
  kept = task.final(variables)["params"]["dense"]["kernel"] != 0
  np.testing.assert_array_equal(kept, np.array([[0], [1], [0], [1]]) * np.ones(3))


def test_own_figures_are_kept_and_a_part_called_masks_is_refused():
  task = reparametrized(
    linear()._replace(scalars=lambda variables, step: {"own": jnp.float32(step)})
  )
  assert task.scalars(task.init(KEY, BATCH), 7)["own"] == 7
  with pytest.raises(BadInput, match="called 'masks'"):
    reparametrized(linear("masks")).init(KEY, BATCH)


def test_the_reward_counts_once_however_the_batch_is_cut():
  task = reparametrized(reward=0.5, select=partial(select.softmax, temperature=1e-4), scale=1e4)
  variables = task.init(KEY, BATCH)
  terms, _ = task.loss(variables, BATCH, KEY, 0)
  assert isinstance(terms["norm"], Term)
  kernel = variables["params"]["dense"]["kernel"]
  assert 0.5 * float(jnp.square(kernel).sum()) > -float(terms["norm"].sum) > 0
