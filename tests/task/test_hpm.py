"""HPM: predictions, losses and masks of the authors' code, and what is learned."""

import functools
import pathlib
import runpy
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from safetensors.numpy import load_file
from scipy import stats

from maskjax import lab, score, select
from maskjax.errors import BadInput
from maskjax.keys import keys
from maskjax.model import published
from maskjax.model.position import sincos
from maskjax.record import Record
from maskjax.train.run import plain
from maskjax.train.setup.build import make_task

KEY = jax.random.key(0)
HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "hpm.safetensors"
CONFIG = lab.load(HERE.parents[1] / "configs" / "image_mim" / "hpm.py")
begun = runpy.run_path(str(HERE / "toy_weights.py"))["begun"]


def config(preset=None, depth=0, loss_depth=1, normalise=False):
  """The config over 4 x 4 patches in ten steps; an encoder of no block embeds them."""
  c = CONFIG.get_config(preset)
  c.over.patch, c.target.normalise = (2, 2), normalise
  c.batch_size, c.total_epochs, c.total_steps = 16, 0.0, 10
  c.model.encoder.update(width=16, depth=depth, heads=2, dtype="float32")
  c.model.decoder.update(width=8, depth=1, heads=2, loss_depth=loss_depth)
  if "teacher" in c.teachers:
    c.teachers.teacher.momentum = dict(fn="schedule.constant", value=0.5)
  return plain(c)


def build(channels=1, **options):
  """The task of a config."""
  return make_task(config(**options), Record("image", (8, 8, channels), {"train": 16}))


@functools.cache
def golden():
  """What the authors' code answered, see make_hpm.py, and what its weights in ours give."""
  stored = load_file(GOLDEN)
  given = {k.removeprefix("golden."): v for k, v in stored.items() if k.startswith("golden.")}
  task = build(channels=3, depth=2, normalise=True)
  batch = jax.device_put({"image": given["pixels"], "position": np.arange(3)})
  variables, report = published.load(
    GOLDEN, jax.eval_shape(task.init, KEY, batch), patch=(2, 2), grid=(4, 4)
  )
  assert [path for path in report.missing if not path.startswith("teachers/")] == []
  assert all(name.startswith("golden.") for name in report.unused)
  variables["teachers"] = {"teacher": {"params": variables["params"]}}
  draws, hidden = int(given["draws"]), jax.device_put(given["hidden"] == 1)

  @jax.jit
  def run(variables):
    told = dict(train=True, given={"hidden": hidden})
    run, _ = task.loss.__self__.run(variables, batch, KEY, 0, **told)
    prediction, predicted, term, shown = run.take(
      "prediction", "predicted_loss", "losses.recover", "whole.predicted_loss"
    )
    drawn = keys(jax.random.key(1), draws * 3).reshape(draws, 3)

    def often(hard):
      hardest = partial(select.top, count=hard)
      loss = jnp.broadcast_to(shown, (draws, 3, 16))
      return select.top(score.hard_first(drawn, loss, select=hardest), ratio=0.75).sum(0)

    found = jax.lax.map(often, hard_of(given["epochs"]))
    return (prediction, predicted), term, shown, found

  return given, jax.tree.map(np.asarray, run(variables))


def hard_of(epochs):
  """How many of 12 hidden patches are the hardest at these epochs of ten."""
  return np.array([int(12 * 0.5 * (epoch + 1) / 10) for epoch in epochs], np.int32)


def test_predictions_and_losses_equal_those_of_the_authors_code():
  given, ((prediction, predicted), term, *_) = golden()
  there = given["hidden"] == 1
  at_hidden = lambda x: x[there].reshape(given["prediction"].shape[:2] + x.shape[2:])
  np.testing.assert_allclose(at_hidden(prediction), given["prediction"], rtol=2e-4, atol=2e-5)
  np.testing.assert_allclose(at_hidden(predicted), given["predicted"], rtol=2e-4, atol=2e-5)
  np.testing.assert_allclose(term.sum / term.count, given["loss"], rtol=1e-4)


def test_masks_are_drawn_as_the_authors_code_draws_them():
  given, (*_, shown, drawn) = golden()
  np.testing.assert_allclose(shown, given["shown"], rtol=2e-4, atol=2e-5)
  draws = int(given["draws"])
  for hard, ours, often in zip(hard_of(given["epochs"]), drawn, given["often"], strict=True):
    np.testing.assert_array_equal(ours == draws, often == draws)
    assert ((often == draws).sum(-1) == hard).all()
    # Four deviations of the difference of two shares of so many draws.
    np.testing.assert_allclose(ours / draws, often / draws, atol=4 * np.sqrt(0.5 / draws))


def test_the_papers_model_has_the_authors_parameters():
  count = int(load_file(GOLDEN)["golden.parameters_of_base"])
  assert CONFIG.NOTE["scale"]["parameters"] == count


def pictures(*shape):
  """Noise above, which cannot be recovered; nothing below."""
  image = np.random.default_rng(0).normal(size=(*shape, 8, 8, 1)).astype(np.float32)
  image[..., 4:, :, :] = 0
  return {"image": image, "position": np.arange(np.prod(shape)).reshape(shape)}


STEPS, MANY = 240, 32


def looks():
  """Looks before training, its steps, looks after it.

  A name, a step and a batch of each, and which of student and teacher stands elsewhere.
  """
  before = [("own", 10, 0, (0, 0)), ("other teacher", 10, 0, (0, 1))]
  before += [("other student", 10, 0, (1, 0))]
  training = [("", step, step, (0, 0)) for step in range(STEPS)]
  of = lambda name, step: [(name, step, STEPS + i, (0, 0)) for i in range(MANY // 16)]
  return [*before, *training, *of("early", 0), *of("late", 10)]


@functools.cache
def tiny():
  """What training comes to teach, views by name, and slopes of what teaches: all one program."""
  task, tx = build(), optax.adam(3e-3)
  shapes = jax.eval_shape(task.init, KEY, pictures(16))
  made = begun(shapes)
  # Of positions, with a row for the class token: what tells them apart matters here.
  table = lambda x: np.pad(sincos((4, 4), x.shape[1]), ((1, 0), (0, 0)))
  tables = jax.tree.map(table, shapes["buffers"])
  names, steps, order, away = map(np.array, zip(*looks(), strict=True))
  images = jax.tree.map(lambda x: x[order], pictures(order.max() + 1, 16))

  @jax.jit
  def run(params, buffers, xs):
    # As vectors: leaf after leaf the optimiser and what it keeps would be most of the program.
    begin, apart = ravel_pytree(params)
    elsewhere = jnp.sin(jnp.arange(begin.size, dtype=begin.dtype))
    whole = lambda params, teacher: {
      "buffers": buffers,
      "params": apart(params),
      "teachers": {"teacher": {"params": apart(teacher)}},
    }

    def step(carry, x):
      """An update if it learns, else the slopes of what teaches alone; what views show."""
      learns, i, (student, other), batch = x

      def cost(params, teacher):
        made, _ = task.loss.__self__.run(whole(params, teacher), batch, KEY, i, train=True)
        recover, teach, shown = made.take("losses.recover", "losses.teach", "answers.views")
        teach = teach.sum / teach.count
        return learns * recover.sum / recover.count + teach, (teach, shown)

      params, teacher, state = carry
      seen = params + student * elsewhere, teacher + other * elsewhere
      slopes, told = jax.grad(cost, (0, 1), has_aux=True)(*seen)
      updates, state = tx.update(slopes[0], state)
      params = params + updates
      after = task.update(whole(params, teacher), i)["teachers"]["teacher"]["params"]
      after = params, ravel_pytree(after)[0], state
      kept = jax.tree.map(lambda old, new: jnp.where(learns, new, old), carry, after)
      return kept, (told, slopes)

    _, (told, slopes) = jax.lax.scan(step, (begin, begin, tx.init(begin)), xs)
    return told, [apart(slope[0]) for slope in slopes]

  xs = names == "", steps, away, images
  (teach, shown), slopes = jax.tree.map(np.asarray, run(made["params"], tables, xs))
  of = lambda name: jax.tree.map(lambda x: np.concatenate(x[names == name]), shown)
  views = {name: of(name) for name in dict.fromkeys(names) if name}
  return teach[names == ""], views, slopes, shapes


def test_it_learns_where_it_fails_and_hides_that():
  teach, views, *_ = tiny()
  assert teach[-1] < 0.75 * np.log(2)
  early, late = views["early"], views["late"]
  # The loss of a patch of the hard half is predicted to be larger than that of one of the easy.
  predicted = late["predicted_loss"].reshape(MANY, 16)
  assert (predicted[:, :8, None] > predicted[:, None, 8:]).mean() > 0.8
  above = [1 - np.isnan(views["loss"])[:, :2].mean() for views in (early, late)]
  # At random 12 of 16 alike; in the end the 6 hardest, and 6 of the other 10: 7.2 of 8.
  assert abs(above[0] - 0.75) < 0.05
  assert above[1] > 0.85
  # And at hidden patches what is predicted from the others ranks as the losses do.
  there = ~np.isnan(early["loss"]).reshape(MANY, 16)
  np.testing.assert_array_equal(there, ~np.isnan(early["predicted_loss_masked"]).reshape(MANY, 16))
  rows = (early[name].reshape(MANY, 16) for name in ("predicted_loss_masked", "loss"))
  ranks = [stats.spearmanr(a[h], b[h])[0] for a, b, h in zip(*rows, there, strict=True)]
  assert np.mean(ranks) > 0.5


def test_maps_of_losses_are_those_of_what_views_show():
  views = tiny()[1]["early"]
  cells = lambda name: views[name].reshape(MANY, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4)
  there = ~np.isnan(views["loss"])
  np.testing.assert_array_equal(there, np.isnan(cells("seen")).all((-1, -2)))
  error = np.square(cells("prediction") - cells("input")).mean((-1, -2))
  np.testing.assert_allclose(views["loss"][there], error[there], rtol=1e-4)


def test_the_teacher_decides():
  made = tiny()[3]
  shape = lambda tree: jax.tree.map(jnp.shape, tree)
  assert shape(made["teachers"]) == {"teacher": {"params": shape(made["params"])}}
  before, teacher, student = (
    np.isnan(tiny()[1][name]["seen"]) for name in ("own", "other teacher", "other student")
  )
  assert (teacher != before).any()
  np.testing.assert_array_equal(student, before)


def test_the_student_learns_all_but_to_be_predicted():
  slope, teacher = tiny()[2]
  reached = lambda tree: any(leaf.any() for leaf in jax.tree.leaves(tree))
  assert not reached(teacher)
  assert reached(slope["encoder"])
  decoder = slope["decoder"]
  assert all(reached(decoder["losses"][name]) for name in ("block_00", "predict"))
  # Not by making the losses what they are predicted to be.
  assert not reached(decoder["predict"])
  assert not reached(decoder["block_00"])


@pytest.mark.parametrize("preset", ["laptop", "ranked"])
def test_a_decoder_that_predicts_no_loss_is_refused(preset):
  task, like = build(preset=preset, loss_depth=0), pictures(16)
  with pytest.raises(BadInput, match="predicts no loss: set loss_depth"):
    jax.eval_shape(task.init, KEY, like)


def test_without_a_teacher_there_is_none_and_losses_are_predicted_all_the_same():
  task, like = build(preset="ranked"), pictures(16)
  variables = jax.eval_shape(task.init, KEY, like)
  assert "teachers" not in variables
  assert task.update is None
  views = jax.eval_shape(task.answers["views"], variables, like, KEY)
  assert {views[name].shape for name in ("predicted_loss", "predicted_loss_masked", "loss")} == {
    (16, 4, 4)
  }
  plain_views = jax.eval_shape(build(preset="plain").answers["views"], variables, like, KEY)
  assert set(plain_views) == {"input", "seen", "prediction", "pasted"}
