"""Contrast: patches are left out for good, captions that are equal belong together."""

import dataclasses
import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import bind, recover, reduce, schedule, score, select
from maskjax.errors import BadInput
from maskjax.model import dual_encoder
from maskjax.record import Record
from maskjax.task import contrast
from maskjax.task.base import total
from maskjax.train import flops
from maskjax.train.step import make_step

KEY = jax.random.key(0)
BATCH, GRID = 8, (4, 4)
RECORD = Record(
  "image", (8, 8, 1), {"train": 64}, class_names=tuple("abc"), vocabulary=tuple("abcdef"),
  unit="words", caption=3,
)  # fmt: skip
MODEL = partial(
  dual_encoder, patch=(2, 2), width=16, depth=1, heads=2, text_width=16, text_depth=1,
  text_heads=2, shared=8,
)  # fmt: skip


def batch():
  rng = np.random.default_rng(0)
  words = rng.integers(0, 6, (4, 3))
  words[0, 2] = -1
  return {
    "image": jnp.asarray(rng.normal(size=(BATCH, 8, 8, 1)), jnp.float32),
    "caption": jnp.asarray(words[[0, 1, 0, 2, 3, 1, 0, 2]], jnp.int32),
    "position": jnp.arange(BATCH),
  }


def made(record=RECORD, ratio=0.5, **words):
  given = dict(score=partial(score.white), select=partial(select.top, ratio=ratio))
  given |= dict(recover=partial(recover.info_nce), model=MODEL, equal=True)
  return contrast(record=record, **{**given, **words})


TASK = made()
WHOLE = made(ratio=0.0)


@pytest.fixture(scope="module")
def variables():
  """Of all tasks here with captions, with places that differ."""
  made = jax.jit(TASK.init)(KEY, batch())
  params = {**jax.tree.map(lambda x: 2 * x, made["params"]), "log_scale": jnp.float32(1.5)}
  return {**made, "params": params}


def cost(task):
  """The mean loss of a task, compiled once for all tests."""
  return compiled(task.loss)


@functools.cache
def compiled(loss):
  """`(variables, batch, step) -> mean`."""
  return jax.jit(lambda v, b, step=0: total(loss(v, b, KEY, step)[0], {}))


@jax.jit
def slope(variables, batch):
  """The mean loss and its slope by the parameters."""
  mean = lambda p: total(TASK.loss({**variables, "params": p}, batch, KEY, 0)[0], {})
  return jax.value_and_grad(mean)(variables["params"])


views = jax.jit(TASK.views)


def hidden_by(variables, given, key=KEY, step=0):
  """Where the task's pictures have nothing, patch by patch."""
  return np.isnan(views(variables, given, key, step)["seen"])[:, ::2, ::2, 0].reshape(BATCH, -1)


def test_the_loss_is_that_of_what_is_left_and_all_equal_captions(variables):
  given = batch()
  hidden = jnp.asarray(hidden_by(variables, given))
  # Left out, not blanked: what lies there may be anything.
  junk = jnp.where(hidden[..., None], 99.0, recover.patchify(given["image"], (2, 2)))
  network = jax.jit(functools.partial(TASK.network.apply, keep=8))
  a, b = network(variables, junk, hidden, given["caption"])
  a, b = (np.asarray(x, np.float64) for x in (a, b))
  a, b = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
  logits = a @ b.T * np.exp(1.5)
  rows = np.asarray(given["caption"])
  same = (rows[:, None] == rows).all(-1)
  assert same.sum() == 3**2 + 2**2 + 2**2 + 1
  expected = 0.0
  for table in (logits, logits.T):
    surprise = np.log(np.exp(table).sum(1, keepdims=True)) - table
    expected += (surprise * same / same.sum(1, keepdims=True)).sum() / 2 / BATCH
  np.testing.assert_allclose(cost(TASK)(variables, given), expected, rtol=1e-5)
  # Equal captions lie at one place: over a whole batch it is the same to ask for each one's own.
  alone = cost(made(equal=False))(variables, given)
  np.testing.assert_allclose(alone, expected, rtol=1e-5)
  assert abs(float(cost(WHOLE)(variables, given)) - expected) > 1e-3


def test_hidden_patches_change_neither_loss_nor_slope(variables):
  given = batch()
  gone = hidden_by(variables, given).reshape(BATCH, *GRID).repeat(2, 1).repeat(2, 2)[..., None]
  clean = slope(variables, given)
  other = slope(variables, {**given, "image": jnp.where(gone, jnp.nan, given["image"])})
  jax.tree.map(np.testing.assert_array_equal, clean, other)


def test_every_example_and_step_hides_others_but_as_many(variables):
  given = batch()
  masks = [hidden_by(variables, given, jax.random.key(k), step) for k in (0, 1) for step in (0, 5)]
  assert all((m.sum(1) == 8).all() for m in masks)
  assert len({row.tobytes() for m in masks for row in m}) >= 2 * BATCH
  assert len({float(cost(TASK)(variables, given, step)) for step in range(3)}) == 3


def test_the_work_of_a_step_falls_with_what_is_kept(variables):
  def images(task):
    work = flops.count(lambda v, b: task.loss(v, b, KEY, 0), variables, batch())
    return work - flops.count(task.describe, variables, batch()["caption"])

  # The class token stays; all but attention goes with the tokens, which goes with their square.
  assert images(TASK) / images(WHOLE) < 9 / 17
  assert images(made(ratio=0.75)) / images(WHOLE) < 5 / 17


def test_a_run_may_end_with_whole_images(variables):
  ratio = bind.Moving(schedule.at_step(schedule.step([0.5, 0.0], [0.5]), 10))
  moving, given = cost(made(ratio=ratio, keep=(8, 16))), batch()
  for step, same in ((0, TASK), (4, TASK), (5, WHOLE), (9, WHOLE)):
    expected = cost(same)(variables, given, step)
    np.testing.assert_allclose(moving(variables, given, step), expected, rtol=1e-5)
  with pytest.raises(BadInput, match=r"set task\.keep"):
    made(ratio=ratio)


def test_features_are_of_whole_images_and_descriptions_share_their_space(variables):
  given, of = batch(), jax.jit(TASK.features)
  features = of(variables, given)
  described = jax.eval_shape(TASK.describe, variables, given["caption"])
  assert features["shared"].shape == described.shape == (BATCH, 8)
  np.testing.assert_allclose(jnp.linalg.norm(features["shared"], axis=-1), 1, rtol=1e-5)
  hidden = jnp.zeros((BATCH, 16), bool).at[:, :4].set(True)
  broken = {**given, "image": given["image"].at[:, :2].set(jnp.nan)}
  part = of(variables, broken, hidden)
  assert np.isfinite(part["mean"]).all()
  assert np.abs(part["mean"] - features["mean"]).max() > 1e-3


def test_examples_that_do_not_count_are_no_others(variables):
  given = batch()
  broken = {**given, "valid": jnp.arange(BATCH) < 6, "image": given["image"].at[6:].set(jnp.nan)}
  first = jax.tree.map(lambda x: x[:6], given)
  got, expected = cost(TASK)(variables, broken), cost(TASK)(variables, first)
  np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_parts_of_a_batch_make_the_loss_and_slope_of_the_whole(variables):
  given = batch()

  def part(variables, given):
    mean = lambda p: TASK.loss({**variables, "params": p}, given, KEY, 0)[0]["recover"].sum / BATCH
    return reduce.combine(jax.lax.psum, jax.value_and_grad(mean)(variables["params"]))

  parts = jax.tree.map(lambda x: x.reshape(4, 2, *x.shape[1:]), given)
  across = jax.vmap(reduce.across("data")(part), in_axes=(None, 0), axis_name="data")
  got = jax.tree.map(lambda x: x[0], jax.jit(across)(variables, parts))
  close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
  jax.tree.map(close, got, slope(variables, given))
  with pytest.raises(BadInput, match="couples"):
    make_step(TASK, optax.sgd(0.1), accumulate=2)


def test_without_captions_two_views_of_an_image_belong_together():
  bare = dataclasses.replace(RECORD, caption=0, vocabulary=())
  given = {k: v for k, v in batch().items() if k != "caption"}
  halves, whole = made(bare), made(bare, ratio=0.0)
  assert halves.describe is None
  variables = jax.jit(halves.init)(KEY, given)
  assert "text" not in variables["params"]
  same = float(cost(whole)(variables, given))
  assert same < np.log(BATCH)
  # Two masks, not one for both.
  assert float(cost(halves)(variables, given)) > same


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (dict(record=dataclasses.replace(RECORD, kind="text")), "contrast takes images"),
    (dict(ratio=1.0), "0 of 16 patches would be left"),
    (dict(score=partial(score.gumbel)), "gumbel needs"),
  ],
)
def test_what_cannot_work_is_said(words, says):
  with pytest.raises(BadInput, match=says):
    made(**words)
