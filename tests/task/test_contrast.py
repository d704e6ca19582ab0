"""Contrast: patches are left out for good, captions that are equal belong together."""

import dataclasses
import functools
import pathlib
import runpy
from functools import partial
from types import SimpleNamespace

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
begun = runpy.run_path(str(pathlib.Path(__file__).with_name("toy_weights.py")))["begun"]
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
  image = rng.normal(size=(BATCH, 8, 8, 1)).astype(np.float32)
  caption = words[[0, 1, 0, 2, 3, 1, 0, 2]].astype(np.int32)
  return jax.device_put({"image": image, "caption": caption, "position": np.arange(BATCH)})


def made(record=RECORD, ratio=0.5, **words):
  given = dict(score=partial(score.white), select=partial(select.top, ratio=ratio))
  given |= dict(recover=partial(recover.info_nce), model=MODEL, equal=True)
  return contrast(record=record, **{**given, **words})


TASK = made()
WHOLE = made(ratio=0.0)


WAYS = [(k, step) for k in (0, 1) for step in (0, 5)]


@functools.cache
def found():
  """Costs and slopes of one batch under several tasks, its masks and features, in one program."""

  @jax.jit
  def run(variables, given):
    mean = lambda task, given, step=0: total(task.loss(variables, given, KEY, step)[0], {})
    over = lambda task, *steps: jax.lax.map(lambda s: mean(task, given, s), jnp.array(steps))
    keys, steps = zip(*((jax.random.key(k), step) for k, step in WAYS), strict=True)
    seen = lambda way: TASK.answers["views"](variables, given, *way)["seen"]
    pictures = jax.lax.map(seen, (jnp.stack(keys), jnp.array(steps)))
    gone = jnp.isnan(pictures[0])
    hidden = gone[:, ::2, ::2, 0].reshape(BATCH, -1)

    def slope(image):
      cost = lambda p: total(
        TASK.loss({**variables, "params": p}, {**given, "image": image}, KEY, 0)[0], {}
      )
      return jax.value_and_grad(cost)(variables["params"])

    def part(variables, given):
      one = lambda p: TASK.loss({**variables, "params": p}, given, KEY, 0)[0]["recover"].sum / BATCH
      return reduce.combine(jax.lax.psum, jax.value_and_grad(one)(variables["params"]))

    parts = jax.tree.map(lambda x: x.reshape(4, 2, *x.shape[1:]), given)
    across = jax.vmap(reduce.across("data")(part), in_axes=(None, 0), axis_name="data")
    # Left out, not blanked: what lies there may be anything.
    junk = jnp.where(hidden[..., None], 99.0, recover.patchify(given["image"], (2, 2)))
    six = {"valid": jnp.arange(BATCH) < 6, "image": given["image"].at[6:].set(jnp.nan)}
    rows = jnp.zeros((BATCH, 16), bool).at[:, :4].set(True)
    blank = {**given, "image": given["image"].at[:, :2].set(jnp.nan)}
    return {
      "seen": pictures,
      "slopes": jax.lax.map(
        slope, jnp.stack([given["image"], jnp.where(gone, jnp.nan, given["image"])])
      ),
      "across": jax.tree.map(lambda x: x[0], across(variables, parts)),
      "vectors": TASK.network.apply(variables, junk, hidden, given["caption"], keep=8),
      "halves": over(TASK, 0, 1, 2),
      "valid": mean(TASK, {**given, **six}),
      "features": TASK.answers["features"](variables, given),
      "rows left out": TASK.answers["features"](variables, blank, rows),
    }

  made_of = begun(jax.eval_shape(TASK.init, KEY, batch()))
  params = jax.tree.map(lambda x: np.float32(2) * np.asarray(x), made_of["params"])
  variables = {**made_of, "params": {**params, "log_scale": np.float32(1.5)}}
  return jax.tree.map(np.asarray, run(jax.device_put(variables), batch()))


def hidden_by(way=0):
  """Where the task's pictures have nothing, patch by patch."""
  return np.isnan(found()["seen"][way])[:, ::2, ::2, 0].reshape(BATCH, -1)


class Sees:
  """A network without weights whose vectors are the patches that it is left, and how many it sees.

  Zeros stand for what is gone.
  """

  encoder, grid = SimpleNamespace(patch=(2, 2)), GRID

  def apply(self, variables, *given, method, keep=0, exact=False):
    """What is seen, or the temperature."""
    if method in ("sharpness", "read"):
      return jnp.float32(1)
    patches, gone = given
    seen = jnp.where(gone[..., None], 0, patches)
    return jnp.concatenate([seen, jnp.full_like(seen[..., :1], keep)], axis=-1)


SEES = dict(model=partial(lambda record_shape: Sees()))
SHOWS = partial(lambda one, two, temperature: reduce.Term(one, two))


def expected(equal, count=BATCH):
  """The loss of so many examples by numpy."""
  a, b = (np.asarray(x[:count], np.float64) for x in found()["vectors"])
  a, b = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
  logits = a @ b.T * np.exp(1.5)
  rows = np.asarray(batch()["caption"])[:count]
  same = (rows[:, None] == rows).all(-1)
  assert same.sum() == (3**2 + 2**2 + 2**2 + 1 if count == BATCH else 2**2 + 2**2 + 1 + 1)
  same = same if equal else np.eye(count)
  surprises = (np.log(np.exp(table).sum(1, keepdims=True)) - table for table in (logits, logits.T))
  return sum((s * same / same.sum(1, keepdims=True)).sum() / 2 / count for s in surprises)


def test_the_loss_is_that_of_what_is_left_and_all_equal_captions():
  np.testing.assert_allclose(found()["halves"][0], expected(True), rtol=1e-5)
  # Equal captions lie at one place: over a whole batch it is the same to ask for each one's own.
  np.testing.assert_allclose(expected(False), expected(True), rtol=1e-5)


def test_what_is_equal_and_what_counts_is_told_where_it_is_wanted():
  told = lambda one, two, temperature, positives=None, valid=None: reduce.Term(positives, valid)
  given = {**batch(), "valid": jax.device_put(np.arange(BATCH) < 6)}
  tasks = [made(equal=equal, recover=partial(told), **SEES) for equal in (True, False)]
  loss = lambda given: [task.loss({}, given, KEY, 0)[0]["recover"] for task in tasks]
  every, own = jax.jit(loss)(given)
  rows = np.asarray(given["caption"])
  np.testing.assert_array_equal(every.sum, (rows[:, None] == rows).all(-1))
  assert own.sum is None
  for term in (every, own):
    np.testing.assert_array_equal(term.count, given["valid"])


def test_hidden_patches_change_neither_loss_nor_slope():
  for leaf in jax.tree.leaves(found()["slopes"]):
    np.testing.assert_array_equal(leaf[0], leaf[1])
  # All that is learned has a slope, the temperature too.
  _, slope = found()["slopes"]
  assert all(np.abs(leaf[0]).max() > 0 for leaf in jax.tree.leaves(slope))


def test_every_example_and_step_hides_others_but_as_many():
  masks = [hidden_by(way) for way in range(len(WAYS))]
  assert all((m.sum(1) == 8).all() for m in masks)
  assert len({row.tobytes() for m in masks for row in m}) >= 2 * BATCH
  assert len(set(found()["halves"].tolist())) == 3


def test_the_work_of_a_step_falls_with_what_is_kept():
  variables = jax.eval_shape(TASK.init, KEY, batch())
  described = flops.count(TASK.answers["describe"], variables, batch()["caption"])

  def images(task):
    return flops.count(lambda v, b: task.loss(v, b, KEY, 0), variables, batch()) - described

  # The class token stays; all but attention goes with the tokens, which goes with their square.
  whole = images(WHOLE)
  assert images(TASK) / whole < 9 / 17
  assert images(made(ratio=0.75)) / whole < 5 / 17


def test_a_run_may_end_with_whole_images():
  ratio = bind.Moving(schedule.at_step(schedule.step([0.5, 0.0], [0.5]), 10))
  words = dict(recover=SHOWS, **SEES)
  tasks = [made(ratio=ratio, keep=(8, 16), **words), made(**words), made(ratio=0.0, **words)]

  @jax.jit
  def run(given):
    looks = lambda step: [task.loss({}, given, KEY, step)[0]["recover"].sum for task in tasks]
    return jax.lax.map(looks, jnp.array([0, 4, 5, 9]))

  moving, halves, whole = map(np.asarray, run(batch()))
  np.testing.assert_array_equal(moving, np.concatenate([halves[:2], whole[2:]]))
  assert moving[..., -1].max(axis=(1, 2)).tolist() == [8, 8, 16, 16]
  assert (moving[:2, ..., :-1].any(-1).sum(-1) == 8).all()
  with pytest.raises(BadInput, match=r"set task\.keep"):
    made(ratio=ratio)


def test_features_are_of_whole_images_and_descriptions_share_their_space():
  features, part = found()["features"], found()["rows left out"]
  variables = jax.eval_shape(TASK.init, KEY, batch())
  described = jax.eval_shape(TASK.answers["describe"], variables, batch()["caption"])
  assert features["shared"].shape == described.shape == (BATCH, 8)
  np.testing.assert_allclose(np.linalg.norm(features["shared"], axis=-1), 1, rtol=1e-5)
  assert np.isfinite(part["mean"]).all()
  assert np.abs(part["mean"] - features["mean"]).max() > 1e-3


def test_examples_that_do_not_count_are_no_others():
  np.testing.assert_allclose(found()["valid"], expected(True, 6), rtol=1e-5)


def test_parts_of_a_batch_make_the_loss_and_slope_of_the_whole():
  close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
  whole = jax.tree.map(lambda x: x[0], found()["slopes"])
  jax.tree.map(close, found()["across"], whole)
  with pytest.raises(BadInput, match="couples"):
    make_step(TASK, optax.sgd(0.1), accumulate=2)


def test_without_captions_two_views_of_an_image_belong_together():
  bare = dataclasses.replace(RECORD, caption=0, vocabulary=())
  given = {k: v for k, v in batch().items() if k != "caption"}
  halves = made(bare)
  assert "describe" not in halves.answers
  assert "text" not in jax.eval_shape(halves.init, KEY, given)["params"]
  shows = made(bare, recover=SHOWS, **SEES)
  many = {"image": np.asarray(given["image"]).repeat(8, 0), "position": np.arange(64)}
  pair = jax.jit(lambda many: shows.loss({}, many, KEY, 0)[0]["recover"])(many)
  one, two = (np.asarray(x)[..., :-1] for x in pair)
  patches = np.asarray(many["image"]).reshape(64, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4)
  for seen in (one, two):
    expected = np.where(seen.any(-1, keepdims=True), patches.reshape(64, 16, 4), 0)
    np.testing.assert_array_equal(seen, expected)
    assert (seen.any(-1).sum(1) == 8).all()
  # Two masks, not one for both, and independent: of eight patches four are seen in both.
  both = (one.any(-1) & two.any(-1)).sum(1)
  assert abs(both.mean() - 4) < 4 * 1.03 / 8


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (dict(record=dataclasses.replace(RECORD, kind="text")), "contrast takes images"),
    (dict(ratio=1.0), "0 of 16 patches would be left"),
    (dict(keep=-8), "-8 of 16 patches would be left"),
    (dict(score=partial(score.gumbel)), "gumbel needs"),
  ],
)
def test_what_cannot_work_is_said(words, says):
  with pytest.raises(BadInput, match=says):
    made(**words)
