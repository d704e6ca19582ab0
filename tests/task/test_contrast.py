"""Contrast: patches are left out for good, captions that are equal belong together."""

import dataclasses
import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import hide, lab, recover, reduce
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.base import total
from maskjax.train.plan import flops
from maskjax.train.run import plain
from maskjax.train.setup.build import make_task
from maskjax.train.step import make_step

KEY = jax.random.key(0)
ROOT = pathlib.Path(__file__).parents[2]
FLIP = lab.load(ROOT / "configs" / "token_dropping" / "flip.py")
begun = runpy.run_path(str(pathlib.Path(__file__).with_name("toy_weights.py")))["begun"]
BATCH, GRID = 8, (4, 4)
RECORD = Record(
  "image", (8, 8, 1), {"train": 64}, class_names=tuple("abc"), vocabulary=tuple("abcdef"),
  unit="words", caption=3,
)  # fmt: skip
SIZES = dict(width=16, depth=1, heads=2, text_width=16, text_depth=1, text_heads=2, shared=8)


def batch():
  rng = np.random.default_rng(0)
  words = rng.integers(0, 6, (4, 3))
  words[0, 2] = -1
  image = rng.normal(size=(BATCH, 8, 8, 1)).astype(np.float32)
  caption = words[[0, 1, 0, 2, 3, 1, 0, 2]].astype(np.int32)
  return jax.device_put({"image": image, "caption": caption, "position": np.arange(BATCH)})


def config(preset="smoke", **select):
  """Flip at the least size on a grid of 4 x 4 patches."""
  c = FLIP.get_config(preset)
  c.over.patch = (2, 2)
  c.model.update(size="mu", **SIZES)
  c = plain(c)
  return {**c, "select": {**c["select"], **select}, "total_steps": 10}


def made(record=RECORD, c=None, **select):
  return make_task(config(**select) if c is None else c, record)


def values(task, given, *names, variables=None, step=0):
  """Values of the graph of a task, without variables of such that need no network."""
  run, _ = task.loss.__self__.run(variables, given, KEY, step)
  return run.all(names)


TASK = made()
WHOLE = made(ratio=0.0)


WAYS = [(k, step) for k in (0, 1) for step in (0, 5)]


@functools.cache
def found():
  """Costs and slopes of one batch under several tasks, its masks and features, in one program."""

  @jax.jit
  def run(variables, given):
    cost = lambda params, given, step: total(
      TASK.loss({**variables, "params": params}, given, KEY, step)[0], {}
    )
    keys, steps = zip(*((jax.random.key(k), step) for k, step in WAYS), strict=True)
    seen = lambda way: TASK.answers["views"](variables, given, *way)["seen"]
    pictures = jax.lax.map(seen, (jnp.stack(keys), jnp.array(steps)))
    gone = jnp.isnan(pictures[0])
    hidden = gone[:, ::2, ::2, 0].reshape(BATCH, -1)

    def slope(way):
      image, step = way
      return jax.value_and_grad(cost)(variables["params"], {**given, "image": image}, step)

    broken = jnp.where(gone, jnp.nan, given["image"])
    images = jnp.stack([given["image"], broken, given["image"], given["image"]])

    def part(variables, given):
      one = lambda p: TASK.loss({**variables, "params": p}, given, KEY, 0)[0]["recover"].sum / BATCH
      return reduce.combine(jax.lax.psum, jax.value_and_grad(one)(variables["params"]))

    parts = jax.tree.map(lambda x: x.reshape(4, 2, *x.shape[1:]), given)
    across = jax.vmap(reduce.across("data")(part), in_axes=(None, 0), axis_name="data")
    # Left out, not blanked: what lies there may be anything.
    junk = jnp.where(hidden[..., None], 99.0, recover.patchify(given["image"], (2, 2)))
    left = hide.drop(junk, hidden, keep=8)
    six = {"valid": jnp.arange(BATCH) < 6, "image": given["image"].at[6:].set(jnp.nan)}
    rows = jnp.zeros((BATCH, 16), bool).at[:, :4].set(True)
    blank = {**given, "image": given["image"].at[:, :2].set(jnp.nan)}
    return {
      "seen": pictures,
      "slopes": jax.lax.map(slope, (images, jnp.array([0, 0, 1, 2]))),
      "across": jax.tree.map(lambda x: x[0], across(variables, parts)),
      "vectors": TASK.network.apply(
        variables, left.values, given["caption"], index=left.index, valid=left.valid
      ),
      "valid": cost(variables["params"], {**given, **six}, 0),
      "temperature": TASK.scalars(variables, 0)["temperature"],
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


def info_nce(a, b, same, temperature):
  """The loss by numpy: equation in `maskjax.recover.info_nce`."""
  a, b = (np.asarray(x, np.float64) for x in (a, b))
  a, b = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
  logits = a @ b.T / temperature
  surprises = (np.log(np.exp(table).sum(1, keepdims=True)) - table for table in (logits, logits.T))
  return sum((s * same / same.sum(1, keepdims=True)).sum() / 2 / len(a) for s in surprises)


def expected(equal, count=BATCH):
  """The loss of so many examples by numpy."""
  a, b = (x[:count] for x in found()["vectors"])
  rows = np.asarray(batch()["caption"])[:count]
  same = (rows[:, None] == rows).all(-1)
  assert same.sum() == (3**2 + 2**2 + 2**2 + 1 if count == BATCH else 2**2 + 2**2 + 1 + 1)
  return info_nce(a, b, same if equal else np.eye(count), np.exp(-1.5))


def test_the_loss_is_that_of_what_is_left_and_all_equal_captions():
  np.testing.assert_allclose(found()["slopes"][0][0], expected(True), rtol=1e-5)
  # Equal captions lie at one place: over a whole batch it is the same to ask for each one's own.
  np.testing.assert_allclose(expected(False), expected(True), rtol=1e-5)


def test_what_is_equal_is_told_where_it_is_wanted():
  (every,) = jax.jit(lambda given: values(TASK, given, "equal"))(batch())
  rows = np.asarray(batch()["caption"])
  np.testing.assert_array_equal(every, (rows[:, None] == rows).all(-1))
  # At the paper's batch it would be dear, and each image has its own caption alone.
  for preset, wanted in (("", False), ("laptop", True), ("tuned", True), ("smoke", True)):
    graph = made(c=config(preset)).loss.__self__.parts.graph
    assert (("main", "losses.recover") in graph.dependents([("main", "equal")])) == wanted, preset


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
  assert len(set(found()["slopes"][0].tolist())) == 3


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
  ratio = dict(fn="schedule.step", values=(0.5, 0.0), boundaries=(0.5,))
  moving = made(c={**config(ratio=ratio), "hide": dict(fn="hide.drop", keep=(8, 16))})
  tasks = [moving, TASK, WHOLE]

  @jax.jit
  def run(given):
    looks = lambda step: [values(task, given, "hidden", "seen.valid", step=step) for task in tasks]
    return jax.lax.map(looks, jnp.array([0, 4, 5, 9]))

  (hidden, valid), (halves, _), (whole, _) = jax.tree.map(np.asarray, run(batch()))
  np.testing.assert_array_equal(hidden, np.concatenate([halves[:2], whole[2:]]))
  np.testing.assert_array_equal(valid.sum(-1), (~hidden).sum(-1))
  assert hidden.sum(-1).T.tolist() == [[8, 8, 0, 0]] * BATCH


def test_features_are_of_whole_images_and_descriptions_share_their_space():
  features, part = found()["features"], found()["rows left out"]
  variables = jax.eval_shape(TASK.init, KEY, batch())
  described = jax.eval_shape(TASK.answers["describe"], variables, batch()["caption"])
  assert features["shared"].shape == described.shape == (BATCH, 8)
  np.testing.assert_allclose(np.linalg.norm(features["shared"], axis=-1), 1, rtol=1e-5)
  assert np.isfinite(part["mean"]).all()
  assert np.abs(part["mean"] - features["mean"]).max() > 1e-3
  np.testing.assert_allclose(found()["temperature"], np.exp(-1.5), rtol=1e-6)


def test_examples_that_do_not_count_are_no_others():
  np.testing.assert_allclose(found()["valid"], expected(True, 6), rtol=1e-5)


def test_parts_of_a_batch_make_the_loss_and_slope_of_the_whole():
  close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
  whole = jax.tree.map(lambda x: x[0], found()["slopes"])
  jax.tree.map(close, found()["across"], whole)
  with pytest.raises(BadInput, match="couples"):
    make_step(TASK, optax.sgd(0.1), accumulate=2)


def two_views():
  """Images alone: two looks at each, with masks of their own, belong together."""
  c = config()
  c["branches"] = dict(other=dict(draws=("score",)))
  c["losses"]["recover"]["of"] = dict(a="image", b="other.image", temperature="temperature")
  del c["answers"]["describe"]
  return c


def test_without_captions_two_views_of_an_image_belong_together():
  bare = dataclasses.replace(RECORD, caption=0, vocabulary=())
  many = {"image": np.asarray(batch()["image"]).repeat(8, 0), "position": np.arange(64)}
  task = made(bare, two_views())
  assert task.coupled
  assert "describe" not in task.answers
  variables = begun(jax.eval_shape(task.init, KEY, many))
  assert "text" not in variables["params"]
  names = "hidden", "other.hidden", "losses.recover", "image", "other.image", "temperature"
  look = jax.jit(lambda v, many: values(task, many, *names, variables=v))
  one, two, term, *places = look(variables, many)
  np.testing.assert_allclose(term.sum, 64 * info_nce(*places[:2], np.eye(64), places[2]), rtol=1e-4)
  assert np.abs(places[0] - places[1]).max() > 1e-3
  assert all((seen.sum(1) == 8).all() for seen in (one, two))
  # Two masks, not one for both, and independent: of eight patches four are seen in both.
  both = (~one & ~two).sum(1)
  assert abs(both.mean() - 4) < 4 * 1.03 / 8


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (dict(record=Record("text", (8,), {"train": 1})), r"patch \(2, 2\) has 2 axes"),
    (dict(ratio=1.0), "0 of 16 patches would be left"),
    (dict(c={**config(), "hide": dict(fn="hide.drop", keep=-8)}), "-8 of 16 patches would be left"),
    (dict(c={**config(), "score": dict(fn="score.gumbel")}), "score.gumbel, needs"),
  ],
)
def test_what_cannot_work_is_said(words, says):
  with pytest.raises(BadInput, match=says):
    made(**words)
