"""A teacher follows the parameters by the momentum of each step, and begins as they do."""

import jax.numpy as jnp
import numpy as np
import pytest
from user_package.configs import two_looks

from maskjax.record import Record
from maskjax.train.setup.build import make_task

RECORD = Record("image", (8, 8, 1), {"train": 4})


@pytest.fixture(scope="module")
def task():
  """Two teachers: the momentum of one rises from 0.5 to 0.9 over the ten steps of the run."""
  c = two_looks()
  rising = dict(fn="schedule.linear", start=0.5, end=0.9)
  c["teachers"]["rising"] = dict(fn="task.ema", momentum=rising)
  return make_task(c, RECORD)


def variables(params, **teachers):
  leaf = lambda value: {"w": jnp.float32(value)}
  return {
    "params": leaf(params),
    "teachers": {name: {"params": leaf(x)} for name, x in teachers.items()},
  }


@pytest.mark.parametrize("step", [0, 3, 9])
def test_each_follows_by_the_momentum_of_that_step(task, step):
  after = task.update({**variables(3, slow=1, rising=2), "state": 5}, step)
  momentum = 0.5 + 0.4 * step / 10
  np.testing.assert_allclose(
    after["teachers"]["slow"]["params"]["w"], 0.75 * 1 + 0.25 * 3, rtol=1e-6
  )
  expected = momentum * 2 + (1 - momentum) * 3
  np.testing.assert_allclose(after["teachers"]["rising"]["params"]["w"], expected, rtol=1e-6)
  assert (after["params"]["w"], after["state"]) == (3, 5)


def test_they_begin_as_the_parameters_given_weights_too(task):
  """In memory of their own, as the train step gives its state's away."""
  given = variables(3, slow=1, rising=2)
  begun = task.prepare(given, iter([]))
  for name in ("slow", "rising"):
    assert begun["teachers"][name]["params"]["w"] == 3
    assert begun["teachers"][name]["params"]["w"] is not given["params"]["w"]
  pointers = {tree["params"]["w"].unsafe_buffer_pointer() for tree in begun["teachers"].values()}
  assert len(pointers | {given["params"]["w"].unsafe_buffer_pointer()}) == 3
