"""A model that foresees its own losses: masks from them, what is learned, and the authors' code."""

import functools
import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file
from scipy import stats

from maskjax import bind, lab, recover, schedule, score, select
from maskjax.errors import BadInput
from maskjax.keys import keys
from maskjax.model import published
from maskjax.model.masked_autoencoder import masked_autoencoder
from maskjax.record import Record
from maskjax.task import reconstruct
from maskjax.task.teacher import ema
from maskjax.train.state import State
from maskjax.train.step import make_step

KEY = jax.random.key(0)
GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "hpm.safetensors"
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


def pictures(seed=1, count=16):
  """Noise above, which cannot be recovered; nothing below."""
  image = jax.random.normal(jax.random.key(seed), (count, 8, 8, 1)).at[:, 4:].set(0)
  return {"image": image, "position": jnp.arange(count)}


@functools.cache
def tiny():
  """A task, its batch and variables, and its views, compiled once for all tests."""
  task = build()
  return task, pictures(), jax.jit(task.init)(KEY, pictures()), jax.jit(task.views)


@functools.cache
def trained():
  """The variables after 200 steps, and the metrics of the last."""
  task, _, variables, _ = tiny()
  tx = optax.adam(5e-3)
  state = State(jnp.int32(0), KEY, variables, tx.init(variables["params"]), {})
  step = jax.jit(make_step(task, tx))
  for i in range(200):
    state, metrics = step(state, pictures(seed=i + 2))
  return state.variables, metrics


def test_it_learns_where_it_fails_and_hides_that():
  variables, metrics = trained()
  assert metrics["terms/teach"] < 0.75 * np.log(2)
  shown = []
  for step in (0, 10):
    every = [tiny()[3](variables, pictures(seed=1000 + i), KEY, step) for i in range(4)]
    shown.append({name: np.concatenate([v[name] for v in every]) for name in every[0]})
  early, late = shown
  # A patch of the hard half is foreseen to be worse than one of the easy half.
  foreseen = late["foreseen"].reshape(64, 16)
  assert (foreseen[:, :8, None] > foreseen[:, None, 8:]).mean() > 0.8
  above = [1 - np.isnan(views["loss"])[:, :2].mean() for views in (early, late)]
  # At random 12 of 16 alike; in the end the 6 hardest, and 6 of the other 10: 7.2 of 8.
  assert abs(above[0] - 0.75) < 0.05
  assert above[1] > 0.85
  # And at hidden patches what is predicted from the others ranks as the losses do.
  there = ~np.isnan(early["loss"]).reshape(64, 16)
  np.testing.assert_array_equal(there, ~np.isnan(early["predicted"]).reshape(64, 16))
  rows = (early[name].reshape(64, 16) for name in ("predicted", "loss"))
  ranks = [stats.spearmanr(a[h], b[h])[0] for a, b, h in zip(*rows, there, strict=True)]
  assert np.mean(ranks) > 0.5


def test_the_teacher_decides():
  _, batch, variables, views = tiny()
  jax.tree.map(np.testing.assert_array_equal, variables["teacher"], variables["params"])
  other = jax.tree.map(lambda x: x + jnp.sin(jnp.arange(x.size).reshape(x.shape)), variables)

  def seen(params, teacher):
    given = {**variables, "params": params, "teacher": teacher}
    return np.isnan(views(given, batch, KEY, 10)["seen"])

  before = seen(variables["params"], variables["teacher"])
  assert (seen(variables["params"], other["teacher"]) != before).any()
  np.testing.assert_array_equal(seen(other["params"], variables["teacher"]), before)


def test_the_student_learns_all_but_to_be_foreseen():
  task, batch, variables, _ = tiny()

  def teach(trained):
    return task.loss({**variables, **trained}, batch, KEY, 10)[0]["teach"].sum

  trained = {name: variables[name] for name in ("params", "teacher")}
  slope = jax.jit(jax.grad(teach))(trained)
  norm = lambda tree: float(optax.tree.norm(tree))
  assert norm(slope["teacher"]) == 0
  assert norm(slope["params"]["encoder"]) > 0
  decoder = slope["params"]["decoder"]
  assert all(norm(decoder["losses"][name]) > 0 for name in ("block_00", "predict"))
  # Not by making the losses what they are foreseen to be.
  assert norm(decoder["predict"]) == norm(decoder["block_00"]) == 0


def test_what_foresees_nothing_is_refused():
  for words in ({}, {"score": partial(score.white)}):
    with pytest.raises(BadInput, match=r"(needs loss|needs predicted); reconstruct offers"):
      build(model={"loss_depth": 0}, **words)


def test_without_a_teacher_there_is_none():
  task = build(teacher=None)
  assert "teacher" not in jax.eval_shape(task.init, KEY, pictures())
  assert task.update is None


@functools.cache
def golden():
  """The authors' weights in a task of ours, and what their code answered; see make_hpm.py."""
  stored = load_file(GOLDEN)
  given = {k.removeprefix("golden."): v for k, v in stored.items() if k.startswith("golden.")}
  task = build(channels=3, normalise=True, model={"depth": 2})
  batch = {"image": jnp.asarray(given["pixels"]), "position": jnp.arange(3)}
  variables, report = published.load(
    GOLDEN, jax.jit(task.init)(KEY, batch), patch=(2, 2), grid=(4, 4)
  )
  ours = [path for path in report.missing if not path.startswith("teacher")]
  assert ours == []
  assert all(name.startswith("golden.") for name in report.unused)
  return task, {**variables, "teacher": variables["params"]}, batch, given


def test_predictions_and_losses_equal_those_of_the_authors_code():
  task, variables, batch, given = golden()
  patches = recover.patchify(batch["image"], (2, 2))
  hidden = jnp.asarray(given["hidden"]) == 1
  see = jax.jit(partial(task.network.apply, keep=4, exact=True, method="foresee"))
  prediction, foreseen = see(variables, patches, hidden)
  there = np.asarray(hidden)
  at_hidden = lambda x: np.asarray(x)[there].reshape(given["prediction"].shape[:2] + x.shape[2:])
  np.testing.assert_allclose(at_hidden(prediction), given["prediction"], rtol=2e-4, atol=2e-5)
  np.testing.assert_allclose(at_hidden(foreseen), given["predicted"], rtol=2e-4, atol=2e-5)
  term = recover.squared_error(prediction, recover.pixels().encode(patches), hidden)
  np.testing.assert_allclose(term.sum / term.count, given["loss"], rtol=1e-4)


def test_masks_are_drawn_as_the_authors_code_draws_them():
  task, variables, batch, given = golden()
  shown = np.asarray(jax.jit(task.views)(variables, batch, KEY)["foreseen"]).reshape(3, 16)
  np.testing.assert_allclose(shown, given["shown"], rtol=2e-4, atol=2e-5)
  draws = int(given["draws"])
  for epoch, often in zip(given["epochs"], given["often"], strict=True):
    hard = int(12 * 0.5 * (epoch + 1) / 10)
    drawn = keys(jax.random.key(1), draws * 3).reshape(draws, 3)
    scores = score.hard_first(
      drawn, jnp.broadcast_to(shown, (draws, 3, 16)), select=partial(select.top, count=hard)
    )
    ours = np.asarray(select.top(scores, ratio=0.75).sum(0))
    np.testing.assert_array_equal(ours == draws, often == draws)
    assert ((often == draws).sum(-1) == hard).all()
    # Four deviations of the difference of two shares of so many draws.
    np.testing.assert_allclose(ours / draws, often / draws, atol=4 * np.sqrt(0.5 / draws))


def test_the_papers_model_has_the_authors_parameters():
  given = golden()[3]
  file = pathlib.Path(__file__).parents[2] / "configs" / "image" / "hpm.py"
  assert lab.load(file).NOTE["scale"]["parameters"] == int(given["parameters_of_base"])
