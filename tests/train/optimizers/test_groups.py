"""Groups of parameters: rules of their own, ascent, every k-th step, and slopes of their terms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import reduce
from maskjax.errors import BadInput
from maskjax.task.base import Aux, Task, total
from maskjax.train.optimizers.groups import grouped
from maskjax.train.step import slopes

ones = lambda *shape: np.ones(shape, np.float32)
PARAMS = {"critic": {"kernel": ones(2, 2)}, "net": {"bias": ones(2), "kernel": ones(2, 3)}}
SECTION = dict(
  fn="sgd", learning_rate=0.1, momentum=0.0, scale_by_batch=0, schedule="constant",
  batch_size=1, total_steps=8,
)  # fmt: skip


def moved(groups, steps=4, **section):
  """How far each parameter is from where it began after steps of gradients that are 1."""
  made = grouped(PARAMS, groups, **{**SECTION, **section})

  def run(params):
    grads = jax.tree.map(jnp.ones_like, params)

    def step(carry, _):
      params, state = carry
      updates, state = made.tx.update(grads, state, params)
      params = optax.apply_updates(params, updates)
      return (params, state), params

    return jax.lax.scan(step, (params, made.tx.init(params)), None, steps)[1]

  after = jax.device_get(jax.jit(run)(PARAMS))
  return made, jax.tree.map(lambda x, p: (x - p).reshape(steps, -1)[:, 0], after, PARAMS)


def test_a_group_climbs_at_a_rate_of_its_own_each_second_step():
  group = dict(match="critic", learning_rate=0.5, ascend=True, every=2)
  made, far = moved((group,))
  np.testing.assert_allclose(far["critic"]["kernel"], [0, 0.5, 0.5, 1.0], rtol=1e-6)
  for leaf in jax.tree.leaves(far["net"]):
    np.testing.assert_allclose(leaf, [-0.1, -0.2, -0.3, -0.4], rtol=1e-5)
  assert made.rates == jax.tree.map(lambda _: 1.0, PARAMS)
  assert made.report[0].startswith("group 0: sgd: peak rate 0.5")


def test_the_first_group_that_matches_has_a_parameter():
  groups = (dict(match="kernel", learning_rate=1.0), dict(match="net", learning_rate=2.0))
  _, far = moved(groups, steps=1)
  assert [float(far["critic"]["kernel"][0]), float(far["net"]["kernel"][0])] == [-1.0, -1.0]
  assert float(far["net"]["bias"][0]) == -2.0


def test_what_a_group_does_not_train_is_left_to_the_last_bit():
  _, far = moved((dict(match="critic", fn="adam", learning_rate=0.5),), rate_rules=(("net", 0.0),))
  assert not any(leaf.any() for leaf in jax.tree.leaves(far["net"]))
  assert far["critic"]["kernel"].all()


def test_weights_of_a_group_decay_by_its_own_rule():
  made, far = moved((dict(match="critic", weight_decay=1.0),), steps=1)
  np.testing.assert_allclose(far["critic"]["kernel"], [-0.1 * 2], rtol=1e-6)
  assert made.decays["critic"]["kernel"] == 1.0


def test_without_groups_it_is_the_section():
  one, _ = moved((), steps=1)
  assert one.report[0].startswith("sgd: peak rate 0.1")


@pytest.mark.parametrize(
  ("group", "says"),
  [
    (dict(learning_rate=1.0), "says which parameters are its own: match=PATTERN"),
    (dict(match="crtic"), "matches no parameter"),
    (dict(match="critic", every=0), "every is at least 1, got 0"),
    (dict(match="critic", rate_rules=()), "unknown field of optimizer.groups.0 'rate_rules'"),
    (dict(match="critic", learning_rat=1.0), "did you mean 'learning_rate'"),
  ],
)
def test_a_group_that_cannot_be_is_refused(group, says):
  with pytest.raises(BadInput) as error:
    grouped(PARAMS, (group,), **SECTION)
  assert says in str(error.value)


def losses(params):
  """One term of both networks, one of the critic's against the other."""
  critic, net = (
    params["critic"]["kernel"].sum(),
    sum(x.sum() for x in jax.tree.leaves(params["net"])),
  )
  one = lambda x: reduce.term(x[None], jnp.ones(1, bool))
  return {"task": one(net * critic), "judged/0": one(critic * net**2)}


def found(**fields):
  task = Task(init=None, loss=None, weights={"judged/0": 0.5}, **fields)
  of = functools.partial(slopes, task, lambda params: (losses(params), Aux()))
  return jax.device_get(jax.jit(lambda p: of(p)[0])(PARAMS)), task


def test_a_term_trains_the_parameters_that_it_names_and_no_others():
  trains = {"task": ("net",), "judged": ("critic",)}
  own, task = found(trains=trains)
  whole = lambda name: jax.grad(
    lambda p: total({name: losses(p)[name]}, task.weights)
  )(PARAMS)  # fmt: skip
  by_task, by_judge = jax.device_get(jax.jit(lambda: (whole("task"), whole("judged/0")))())
  jax.tree.map(np.testing.assert_allclose, own["net"], by_task["net"])
  jax.tree.map(np.testing.assert_allclose, own["critic"], by_judge["critic"])


def test_terms_that_name_none_train_all():
  own, _ = found(trains={"judged": ("critic",)})
  plain, _ = found()
  np.testing.assert_allclose(own["critic"]["kernel"], plain["critic"]["kernel"], rtol=1e-6)
  assert (own["net"]["kernel"] != plain["net"]["kernel"]).all()


@pytest.mark.parametrize(
  ("trains", "says"),
  [
    ({"task": ("nett",), "judged": ("critic",)}, "matches no parameter"),
    ({"task": ("net/bias",), "judged": ("critic",)}, "no loss trains net/kernel"),
  ],
)
def test_parameters_that_no_loss_trains_are_named(trains, says):
  with pytest.raises(BadInput) as error:
    found(trains=trains)
  assert says in str(error.value)
