"""A teacher follows the parameters, begins as they do, and gets no gradient."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from maskjax import bind, reduce
from maskjax.task.base import Aux, Task
from maskjax.task.teacher import ema, taught_by, with_teacher
from maskjax.train.state import start
from maskjax.train.step import make_step

KEY = jax.random.key(0)
BATCH = {"position": jax.device_put(np.arange(2))}


def task():
  """One weight, pulled to 1 and tied to its teacher, by which it must not move that one."""

  def init(key, batch):
    return {"params": {"w": jnp.zeros(())}}

  def loss(variables, batch, key, step):
    old, new = taught_by(variables)["params"]["w"], variables["params"]["w"]
    gap = jnp.square(new - 1) + 0 * old
    return {"recover": reduce.Term(gap, jnp.int32(1))}, Aux()

  return Task(init=init, loss=loss)


def test_it_follows_after_each_update_by_the_momentum_of_that_step():
  momentum = bind.Moving(lambda step: 0.5 + 0.1 * step)
  made = with_teacher(task(), partial(ema, momentum=momentum))
  tx = optax.sgd(0.1)
  state = start(made, tx, KEY, BATCH, ema=False)
  step = make_step(made, tx)
  run = lambda state: jax.lax.scan(lambda s, _: (step(s, BATCH)[0],) * 2, state, None, 3)[1]
  states = jax.jit(run, donate_argnums=0)(state)
  w, teacher = 0.0, 0.0
  for i in range(3):
    w -= 0.1 * 2 * (w - 1)
    teacher = (0.5 + 0.1 * i) * teacher + (0.5 - 0.1 * i) * w
    np.testing.assert_allclose(states.variables["params"]["w"][i], w, rtol=1e-6)
    np.testing.assert_allclose(states.variables["teacher"]["w"][i], teacher, rtol=1e-6)


def test_it_begins_as_the_parameters_given_weights_too():
  made = with_teacher(task(), partial(ema, momentum=0.9))
  variables = made.init(KEY, BATCH)
  assert variables["teacher"]["w"] == variables["params"]["w"]
  given = {**variables, "params": {"w": jnp.float32(3)}}
  assert made.prepare(given, iter([]))["teacher"]["w"] == 3


def test_what_the_task_itself_does_comes_first():
  plain = task()._replace(
    update=lambda variables, step: {**variables, "count": step + 1},
    prepare=lambda variables, batches: {**variables, "params": {"w": jnp.float32(5)}},
  )
  made = with_teacher(plain, partial(ema, momentum=0.0))
  variables = made.prepare(made.init(KEY, BATCH), iter([]))
  assert variables["teacher"]["w"] == 5
  assert made.update(variables, 6)["count"] == 7


def test_without_a_teacher_the_parameters_teach_themselves():
  params = {"w": jnp.float32(2)}
  assert taught_by({"params": params})["params"]["w"] == 2
  slope = jax.grad(lambda p: taught_by({"params": p})["params"]["w"] ** 2)(params)
  assert slope["w"] == 0
