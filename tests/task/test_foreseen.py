"""A model that foresees its own losses: masks from them, and what is learned."""

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
from scipy import stats

from maskjax import bind, recover, schedule, score, select
from maskjax.errors import BadInput
from maskjax.model.masked_autoencoder import masked_autoencoder
from maskjax.record import Record
from maskjax.task import reconstruct
from maskjax.task.teacher import ema

KEY = jax.random.key(0)
begun = runpy.run_path(str(pathlib.Path(__file__).with_name("toy_weights.py")))["begun"]
TINY = {"patch": (2, 2), "width": 16, "heads": 2, "decoder_width": 8, "decoder_heads": 2}
HARDER = bind.Moving(schedule.at_step(schedule.linear(0.0, 0.375), 10))


def build(channels=1, normalise=False, **words):
  """A tiny task on a grid of 4 x 4 patches."""
  sizes = {**TINY, "depth": 1, "decoder_depth": 1, "loss_depth": 1, **words.pop("model", {})}
  given = {
    "score": partial(score.hard_first, select=partial(select.top, ratio=HARDER)),
    "teach": partial(recover.pairwise_ranking),
    "teacher": partial(ema, momentum=0.5),
    **words,
  }
  return reconstruct(
    record=Record("image", (8, 8, channels), {"train": 16}),
    model=partial(masked_autoencoder, **sizes),
    select=partial(select.top, ratio=0.75),
    target=partial(recover.pixels, normalise=normalise),
    recover=partial(recover.squared_error),
    **given,
  )


def pictures(seed, count=16):
  """Noise above, which cannot be recovered; nothing below."""
  image = jax.random.normal(jax.random.fold_in(KEY, seed), (count, 8, 8, 1)).at[:, 4:].set(0)
  return {"image": image, "position": jnp.arange(count)}


STEPS, MANY = 200, 32


@functools.cache
def tiny():
  """What training comes to teach, views by several variables, and slopes of what teaches."""
  task, tx = build(), optax.adam(5e-3)
  shapes = jax.eval_shape(task.init, KEY, jax.eval_shape(pictures, 0))
  made = begun(shapes)
  bend = lambda x: x + jnp.sin(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)

  @jax.jit
  def run(params):
    rest = {"buffers": task.init(KEY, pictures(0))["buffers"]}

    def step(carry, x):
      """An update; where the weight of what recovers is 0, the slopes of what teaches alone."""
      i, weight = x

      def cost(learned):
        terms = task.loss({**rest, **learned}, pictures(i), KEY, i)[0]
        means = {name: term.sum / term.count for name, term in terms.items()}
        return weight * means["recover"] + means["teach"], means["teach"]

      learned, state = carry
      slopes, teach = jax.grad(cost, has_aux=True)(learned)
      # As one vector: a leaf by itself costs a program of its own.
      slope, apart = ravel_pytree(slopes["params"])
      updates, state = tx.update(slope, state)
      params = jax.tree.map(jnp.add, learned["params"], apart(updates))
      after = task.update({**rest, **learned, "params": params}, i)
      after = {name: after[name] for name in learned}, state
      found = teach, jax.tree.map(optax.tree.norm, slopes)
      return jax.tree.map(lambda old, new: jnp.where(weight > 0, new, old), carry, after), found

    start = {"params": params, "teacher": params}, tx.init(ravel_pytree(params)[0])
    xs = jnp.arange(STEPS), jnp.ones(STEPS).at[0].set(0)
    (end, _), (teach, taught) = jax.lax.scan(step, start, xs)
    batch, away = pictures(STEPS, MANY), jax.tree.map(bend, params)
    given = {
      "early": (end["params"], end["teacher"], 0),
      "late": (end["params"], end["teacher"], 10),
      "own": (params, params, 10),
      "other teacher": (params, away, 10),
      "other student": (away, params, 10),
    }
    show = lambda x: task.answers["views"](
      {**rest, "params": x[0], "teacher": x[1]}, batch, KEY, x[2]
    )
    found = jax.lax.map(show, jax.tree.map(lambda *x: jnp.stack(x), *given.values()))
    views = {name: jax.tree.map(lambda x, i=i: x[i], found) for i, name in enumerate(given)}
    return teach, views, jax.tree.map(lambda x: x[0], taught)

  return *jax.tree.map(np.asarray, run(made["params"])), shapes


def test_it_learns_where_it_fails_and_hides_that():
  teach, views, *_ = tiny()
  assert teach[-1] < 0.75 * np.log(2)
  early, late = views["early"], views["late"]
  # A patch of the hard half is foreseen to be worse than one of the easy half.
  foreseen = late["foreseen"].reshape(MANY, 16)
  assert (foreseen[:, :8, None] > foreseen[:, None, 8:]).mean() > 0.8
  above = [1 - np.isnan(views["loss"])[:, :2].mean() for views in (early, late)]
  # At random 12 of 16 alike; in the end the 6 hardest, and 6 of the other 10: 7.2 of 8.
  assert abs(above[0] - 0.75) < 0.05
  assert above[1] > 0.85
  # And at hidden patches what is predicted from the others ranks as the losses do.
  there = ~np.isnan(early["loss"]).reshape(MANY, 16)
  np.testing.assert_array_equal(there, ~np.isnan(early["predicted"]).reshape(MANY, 16))
  rows = (early[name].reshape(MANY, 16) for name in ("predicted", "loss"))
  ranks = [stats.spearmanr(a[h], b[h])[0] for a, b, h in zip(*rows, there, strict=True)]
  assert np.mean(ranks) > 0.5


def test_the_teacher_decides():
  made = tiny()[3]
  assert jax.tree.map(jnp.shape, made["teacher"]) == jax.tree.map(jnp.shape, made["params"])
  before, teacher, student = (
    np.isnan(tiny()[1][name]["seen"]) for name in ("own", "other teacher", "other student")
  )
  assert (teacher != before).any()
  np.testing.assert_array_equal(student, before)


def test_the_student_learns_all_but_to_be_foreseen():
  slope = tiny()[2]
  assert max(jax.tree.leaves(slope["teacher"])) == 0
  reached = lambda tree: max(jax.tree.leaves(tree)) > 0
  assert reached(slope["params"]["encoder"])
  decoder = slope["params"]["decoder"]
  assert all(reached(decoder["losses"][name]) for name in ("block_00", "predict"))
  # Not by making the losses what they are foreseen to be.
  assert not reached(decoder["predict"])
  assert not reached(decoder["block_00"])


def test_what_foresees_nothing_is_refused():
  for words in ({}, {"score": partial(score.white)}):
    with pytest.raises(BadInput, match=r"(needs loss|needs predicted); reconstruct offers"):
      build(model={"loss_depth": 0}, **words)


def test_without_a_teacher_there_is_none():
  task = build(teacher=None)
  assert "teacher" not in jax.eval_shape(task.init, KEY, jax.eval_shape(pictures, 0))
  assert task.update is None
