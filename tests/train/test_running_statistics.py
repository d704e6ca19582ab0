"""State that belongs to weights, as running statistics, goes wherever they go."""

import functools
import logging
import pathlib
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from user_package.parts import normed

from maskjax.record import Record
from maskjax.task.networks import changes_of, learned_of, networks_of
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.checkpoints.load import stored
from maskjax.train.setup.build import make_task
from maskjax.train.setup.initial import given, snapshot
from maskjax.train.state import State, start, with_ema
from maskjax.train.step import make_step

STEPS, EMA, SLOW = 3, 0.5, 0.75
RECORD = Record("image", (2, 2, 1), {"train": 4}, ("a", "b"))
IMAGES = 3 + 2 * np.random.default_rng(0).normal(size=(STEPS, 4, 2, 2, 1)).astype(np.float32)
LABEL, KEY = np.array([0, 1, 1, 0]), jax.random.key(0)
FREE = ("params", "batch_stats")


def config():
  """A classifier with batch normalisation, a teacher, and a value that keeps a state."""
  c = dict(task=dict(fn="task.masked"), batch_size=4, total_steps=9, data=dict(train="train"))
  c["over"], c["model"] = dict(fn="over.pixels"), dict(fn="user_package.parts:normed")
  c["teachers"] = dict(slow=dict(fn="task.ema", momentum=SLOW))
  c["let"] = dict(
    logits=dict(fn="network.__call__", of=dict(image="batch.image", train="train")),
    taught=dict(fn="task.apply", of=dict(network="slow.network", x="batch.image")),
    examples=dict(fn="task.valid_examples"),
    count=dict(fn="user_package.parts:seen_before"),
  )
  of = dict(target="batch.label", asked="examples")
  c["losses"] = dict(recover=dict(fn="recover.cross_entropy", of=of))
  predict = dict(fn="network.__call__", of=dict(image="batch.image"), takes=("batch",))
  c["answers"] = dict(predict=predict, taught=dict(value="taught", takes=("batch",)))
  return c


class Ran:
  """A few steps: the states, and what is predicted with networks averaged as a whole or not."""

  def __init__(self):
    self.task, tx = make_task(config(), RECORD), optax.sgd(0.5)
    step = make_step(self.task, tx, ema=EMA)
    whole = lambda image: {"image": image, "label": jnp.asarray(LABEL), "position": jnp.arange(4)}

    @jax.jit
    def run(images):
      first = start(self.task, tx, KEY, whole(images[0]), ema=True)
      one = lambda state, image: (lambda new: (new, new))(step(state, whole(image))[0])
      return first, jax.lax.scan(one, first, images)[1]

    self.first, after = run(IMAGES)
    self.states = [jax.tree.map(lambda x, i=i: x[i], after) for i in range(STEPS)]
    self.last = self.states[-1]
    self.answer = jax.jit(
      lambda name, v: self.task.answers[name](v, whole(IMAGES[0])), static_argnums=0
    )

  def average(self, decay):
    """The oracle: parameters and statistics averaged over the steps."""
    pick = lambda variables: {name: variables[name] for name in FREE}
    found = pick(self.first.variables)
    for state in self.states:
      follow = lambda a, p: decay * np.asarray(a) + (1 - decay) * np.asarray(p)
      found = jax.tree.map(follow, found, pick(state.variables))
    return found


@pytest.fixture(scope="module")
def ran():
  """The steps, once a file."""
  return Ran()


close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)


def test_the_ema_is_a_whole_network(ran):
  oracle = ran.average(EMA)
  jax.tree.map(close, dict(ran.last.ema), oracle)
  got = ran.answer("predict", with_ema(ran.last))
  close(got, ran.answer("predict", {**ran.last.variables, **oracle}))
  mixture = {**ran.last.variables, "params": oracle["params"]}
  assert np.abs(got - ran.answer("predict", mixture)).max() > 0.01


def test_a_teacher_has_statistics_of_its_own(ran):
  oracle = ran.average(SLOW)
  jax.tree.map(close, ran.last.variables["teachers"], {"slow": oracle})
  got = ran.answer("taught", ran.last.variables)
  close(got, ran.answer("predict", {**ran.last.variables, **oracle}))


def test_the_state_of_a_value_is_the_methods(ran):
  assert int(ran.last.variables["state"]["count"]) == STEPS + 1
  assert set(ran.last.ema) == set(FREE)


def save(folder, state):
  with Checkpoints(folder) as checkpoints:
    checkpoints.save(STEPS, snapshot(state, 0))


def test_what_is_loaded_and_begun_from_is_that_network(ran, tmp_path):
  save(tmp_path, ran.last)
  found, oracle = stored(tmp_path), ran.average(EMA)
  parts = SimpleNamespace(config={}, task=ran.task, data=SimpleNamespace(record=RECORD))
  begun = given(tmp_path, ran.first.variables, parts)
  for name in FREE:
    jax.tree.map(close, found[name], oracle[name])
    jax.tree.map(close, begun[name], oracle[name])
  # Weights that begin anew do so with their statistics.
  parts.config["init_except"] = "params/BatchNorm_0/"
  begun = given(tmp_path, ran.first.variables, parts)["batch_stats"]
  jax.tree.map(np.testing.assert_array_equal, begun, ran.first.variables["batch_stats"])


def test_averages_of_before_are_completed_by_the_statistics_of_the_network(ran, tmp_path, caplog):
  alone = {"slow": ran.last.variables["teachers"]["slow"]["params"]}
  variables = {**ran.last.variables, "teachers": alone}
  save(tmp_path, ran.last._replace(variables=variables, ema=ran.last.ema["params"]))
  with caplog.at_level(logging.WARNING, "maskjax"):
    found = stored(tmp_path)
  assert [row.getMessage().count("running statistics") for row in caplog.records] == [1]
  jax.tree.map(np.testing.assert_array_equal, found["params"], ran.last.ema["params"])
  raw = ran.last.variables["batch_stats"]
  jax.tree.map(np.testing.assert_array_equal, found["batch_stats"], raw)
  _, tree = Checkpoints(tmp_path).restore(snapshot(ran.last, 0))
  state: State = tree["state"]
  jax.tree.map(np.testing.assert_array_equal, state.ema["batch_stats"], raw)
  jax.tree.map(
    np.testing.assert_array_equal, state.variables["teachers"]["slow"]["params"], alone["slow"]
  )


@pytest.mark.parametrize("frozen", [True, False])
def test_statistics_of_a_frozen_network_stay(frozen):
  module = normed()
  variables = module.init(KEY, IMAGES[0])
  place = "frozen" if frozen else "params"
  variables = {
    place: {"net": variables["params"]},
    "batch_stats": {"net": variables["batch_stats"]},
  }
  variables = {"params": {}, **variables}
  found = learned_of({"net": module}, {**variables, "teachers": {}, "sampler": {}}, {"net": frozen})
  assert {name for name, tree in found.items() if tree} == (set() if frozen else {*FREE})
  networks = networks_of({"net": module}, variables, frozen={"net": frozen})
  networks["net"](IMAGES[0], train=True)
  assert changes_of(networks, variables).keys() == (set() if frozen else {"batch_stats"})
