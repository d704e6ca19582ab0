"""The masked task of a config: what its sections mean, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from user_package.configs import small

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.base import total
from maskjax.train.setup.build import make_task
from maskjax.train.state import State, init_opt_state
from maskjax.train.step import make_step

B, N, KEY = 4, 16, jax.random.key(0)
RECORD = Record("image", (8, 8, 1), {"train": B}, mean=(0.0,), std=(1.0,))
IMAGE = np.random.default_rng(0).normal(size=(B, 8, 8, 1)).astype(np.float32)
BATCH = {"image": jnp.asarray(IMAGE), "position": jnp.arange(B)}
ME = "user_package.parts:"
LINE = dict(fn="schedule.linear", start=0.0, end=1.0)


def made(**more):
  return make_task(small(**more), RECORD)


@pytest.fixture(scope="module")
def variables():
  """Those of the plain autoencoder, which many configs share."""
  return jax.jit(made().init)(KEY, BATCH)


def slopes(task, variables, step=0):
  def cost(params):
    terms, _ = task.loss({**variables, "params": params}, BATCH, KEY, step)
    return total(terms, task.weights)

  return jax.device_get(jax.jit(jax.value_and_grad(cost))(variables["params"]))


def test_buckets_give_the_loss_of_whole_examples(variables):
  moving = dict(fn="select.top", ratio=dict(LINE, start=0.9, end=0.1))
  tasks = [made(select=moving, hide=dict(fn="hide.drop", keep=keep)) for keep in ((4, 8, N), N)]
  both = lambda v, step: [task.loss(v, BATCH, KEY, step)[0]["recover"] for task in tasks]
  steps = jnp.array([0, 4, 9])
  few, whole = jax.jit(lambda v: jax.lax.map(lambda s: both(v, s), steps))(variables)
  np.testing.assert_allclose(few.sum, whole.sum, rtol=1e-5)
  np.testing.assert_array_equal(few.count, whole.count)
  assert few.count.tolist() == sorted(few.count.tolist(), reverse=True)


def test_two_microbatches_are_one(variables):
  task = made()

  def step(accumulate):
    tx = optax.sgd(0.1)
    state = State(jnp.int32(0), KEY, variables, init_opt_state(tx, variables), {})
    return make_step(task, tx, accumulate=accumulate)(state, BATCH)

  (one, met), (two, other) = jax.device_get(jax.jit(lambda: (step(1), step(2)))())
  np.testing.assert_allclose(met["loss"], other["loss"], rtol=1e-5)
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
  jax.tree.map(close, one.variables["params"], two.variables["params"])


def test_a_weight_that_moves_is_that_of_the_step(variables):
  loss = dict(fn="recover.squared_error")
  tasks = [made(losses=dict(recover=dict(loss, **more))) for more in (dict(scale=LINE), {})]
  both = lambda v: [task.loss(v, BATCH, KEY, 5)[0]["recover"].sum for task in tasks]
  half, plain = jax.jit(both)(variables)
  np.testing.assert_allclose(half, 0.5 * plain, rtol=1e-6)
  assert made(losses=dict(recover=dict(loss, scale=0.25))).weights == {"recover": 0.25}


def test_nothing_is_learned_through_detached_networks(variables):
  agree = dict(fn=ME + "gap", of=dict(a="out.tokens", b="whole.out.tokens"))
  task = lambda who: make_task(
    small(
      branches=dict(whole=dict(encoder=who, hidden="nothing")),
      losses=dict(recover=dict(fn="recover.squared_error"), agree=agree),
    ),
    RECORD,
  )
  fixed, free = (slopes(task(who), variables)[1] for who in ("detached.encoder", "main.encoder"))

  of = task("main.encoder").loss.__self__

  def by_hand(params):
    run, _ = of.run({**variables, "params": params}, BATCH, KEY, 0, train=True)
    a, b, recover = run.take("out.tokens", "whole.out.tokens", "losses.recover")
    gap = jnp.square(a.mean(axis=-2) - jax.lax.stop_gradient(b).mean(axis=-2)).mean()
    return recover.sum / recover.count + gap

  expected = jax.jit(jax.grad(by_hand))(variables["params"])
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
  jax.tree.map(close, fixed["encoder"], expected["encoder"])
  kernels = [tree["encoder"]["embed"]["kernel"] for tree in (fixed, free)]
  assert np.abs(kernels[0] - kernels[1]).max() > 1e-4


def test_features_are_of_what_is_left_to_see(variables):
  features = made().answers["features"]
  hidden = jnp.broadcast_to(jnp.arange(N) % 2 == 0, (B, N))
  rows, columns = np.divmod(np.arange(64), 8)
  gone = ((rows // 2 * 4 + columns // 2) % 2 == 0).reshape(8, 8)
  spoilt = {**BATCH, "image": jnp.asarray(np.where(gone[..., None], np.nan, IMAGE))}
  of = lambda v: (features(v, BATCH), features(v, BATCH, hidden), features(v, spoilt, hidden))
  whole, left, other = jax.device_get(jax.jit(of)(variables))
  assert set(whole) == {"mean", "tokens", "class"}
  np.testing.assert_allclose(whole["mean"], whole["tokens"].mean(1), rtol=1e-5, atol=1e-6)
  jax.tree.map(np.testing.assert_array_equal, left, other)
  assert np.abs(left["class"] - whole["class"]).max() > 1e-3


def test_views_show_what_is_hidden_and_take_a_mask_of_the_callers_own(variables):
  views = made().answers["views"]
  own = jnp.broadcast_to(jnp.arange(N) < 3, (B, N))
  both = lambda v: (views(v, BATCH, KEY), views(v, BATCH, KEY, hidden=own))
  plain, given = jax.device_get(jax.jit(both)(variables))
  assert np.isnan(plain["seen"]).reshape(B, -1).sum(1).tolist() == [48] * B
  gone = np.isnan(given["seen"])
  assert gone.reshape(B, -1).sum(1).tolist() == [12] * B
  np.testing.assert_array_equal(given["pasted"], np.where(gone, given["prediction"], IMAGE))


def test_examples_need_a_position_where_something_is_drawn_and_nowhere_else(variables):
  task = made(answers=dict(plain="values", drawn="score"))
  alone = {"image": BATCH["image"]}
  plain = jax.eval_shape(task.answers["plain"], variables, alone, KEY)
  assert plain.shape == (B, N, 4)
  with pytest.raises(BadInput, match="was not given 'position'"):
    jax.eval_shape(task.answers["drawn"], variables, alone, KEY)


def test_a_mask_of_the_callers_own_reaches_what_its_name_stands_for(variables):
  top = dict(fn="select.top", ratio=0.75)
  views = made(select=None, let=dict(chosen=top, hidden="chosen")).answers["views"]
  own = jnp.broadcast_to(jnp.arange(N) < 3, (B, N))
  given = jax.jit(lambda v: views(v, BATCH, KEY, hidden=own)["seen"])(variables)
  assert np.isnan(given).reshape(B, -1).sum(1).tolist() == [12] * B


def test_a_hider_and_a_selection_may_be_told_of_other_values_than_theirs(variables):
  """An `of` that names the first argument leaves the second one what it is."""
  let = dict(scaled=dict(fn=ME + "scaled", of=dict(x="values")))
  let["turned"] = dict(fn=ME + "scaled", of=dict(x="scores"), by=-1.0)
  select = dict(fn="select.top", ratio=0.75, of=dict(scores="turned"))
  hide = dict(fn="hide.fill", value=0.0, of=dict(x="scaled"))
  answers = dict(seen="seen.values", plain="values", scores="scores")
  task = made(let=let, select=select, hide=hide, answers=answers)
  told = lambda v: [task.answers[name](v, BATCH, KEY) for name in answers]
  seen, plain, scores = map(np.asarray, jax.jit(told)(variables))
  left = scores >= np.sort(scores, axis=-1)[:, -4:-3]  # the lowest scores are hidden first
  np.testing.assert_array_equal(seen, np.where(left[..., None], 2 * plain, 0))


@pytest.mark.parametrize(
  ("more", "says"),
  [
    (dict(select=None, let=dict(hidden="nothing")), "how many positions 'hidden' leaves"),
    (dict(over=None), "say what a position is: c.over"),
    (dict(losses={}), "neither losses nor values with a state"),
    (dict(losses=dict(a=dict(fn="recover.squared_eror"))), "did you mean 'squared_error'"),
    (dict(losses=dict(a=dict(scale=1.0))), "losses.a is a section with fn"),
    (dict(losses=dict(a=dict(fn="recover.squared_error", of=dict(asked="visibel")))), "'visible'"),
    (
      dict(losses=dict(a=dict(fn="recover.squared_error", each="layers"))),
      "unknown argument of squared_error, which each names, 'layers'",
    ),
    (dict(let=dict(a=3)), "the value 'a' is a section with fn, or the name of another"),
    (dict(hide=(dict(fn="hide.drop"), dict(fn="hide.mean"))), "drops positions comes last"),
    (dict(hide=dict(fn=None, keep=4)), "hide is a section with fn, or several"),
    (dict(select=dict(fn="select.top", ratio=LINE)), "set hide.keep"),
    (dict(gates=dict(a=dict(at="decodr/0/heads", by="hidden"))), "did you mean 'decoder'"),
    (dict(branches=dict(other={})), "changes nothing"),
  ],
)
def test_a_config_that_cannot_work_is_refused(more, says):
  built = lambda: jax.eval_shape(made(**more).init, KEY, BATCH)
  with pytest.raises(BadInput) as error:
    built()
  assert says in str(error.value)


def test_networks_that_no_loss_calls_or_that_need_each_other_are_refused():
  networks = small()["model"]
  idle = made(model=dict(networks, critic=dict(fn=ME + "critic")))
  with pytest.raises(BadInput, match="no loss calls the network 'critic'"):
    jax.eval_shape(idle.init, KEY, BATCH)
  circle = dict(one=dict(fn=ME + "of_two"), two=dict(fn=ME + "of_one"))
  with pytest.raises(BadInput, match="need each other to be built: one, two"):
    made(model=circle)


def test_a_section_may_name_a_method_of_a_network(variables):
  """Called with values by the names of its arguments; one that is not there is refused."""
  attend = lambda fn: small(
    let=dict(mine=dict(fn=fn, of=dict(x="embedded", index="seen.index"))),
    answers=dict(mine="mine", plain="out.tokens"),
  )
  task = make_task(attend("encoder.attend"), RECORD)
  told = lambda v: [task.answers[name](v, BATCH) for name in ("mine", "plain")]
  mine, plain = jax.jit(told)(variables)
  np.testing.assert_array_equal(mine[:, 1:], plain)
  with pytest.raises(BadInput, match="did you mean 'attend'"):
    make_task(attend("encoder.atend"), RECORD)


def test_a_network_is_handed_to_factories_that_ask_for_it_alone():
  """Not to those that have an option of its name, as `mlp` of a vision transformer."""
  c = small()
  c["model"]["mlp"] = dict(fn=ME + "critic")
  c["losses"]["judged"] = dict(fn=ME + "judged", of=dict(critic="mlp"))
  shapes = jax.eval_shape(make_task(c, RECORD).init, KEY, BATCH)["params"]
  assert set(shapes) == {"encoder", "decoder", "mlp"}
