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

from maskjax import bind, recover, schedule, score, select
from maskjax.errors import BadInput
from maskjax.keys import keys
from maskjax.model import published
from maskjax.model.masked_autoencoder import masked_autoencoder
from maskjax.record import Record
from maskjax.task import reconstruct
from maskjax.task.base import total
from maskjax.task.teacher import ema
from maskjax.train.state import start
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
def trained():
  """A task after 150 steps, and its variables."""
  task, tx = build(), optax.adam(3e-3)
  state = jax.jit(lambda key, batch: start(task, tx, key, batch, False))(KEY, pictures())
  step = jax.jit(make_step(task, tx), donate_argnums=0)
  for i in range(150):
    state, metrics = step(state, pictures(seed=i + 2))
  return task, state.variables, metrics


def test_it_learns_where_it_fails_and_hides_that():
  task, variables, metrics = trained()
  assert metrics["terms/teach"] < 0.75 * np.log(2)
  batch = pictures(seed=1000, count=64)
  early, late = (jax.jit(task.views)(variables, batch, KEY, step) for step in (0, 10))
  # Each of the hard half is foreseen to be worse than each of the easy half.
  foreseen = np.asarray(late["foreseen"]).reshape(64, 16)
  assert (foreseen[:, :8].min(-1) > foreseen[:, 8:].max(-1)).mean() > 0.9
  hidden = {name: np.isnan(v["loss"]).mean((0, 2)) for name, v in (("0", early), ("10", late))}
  above = {name: 1 - share[:2].mean() for name, share in hidden.items()}
  # At random 12 of 16 alike; in the end the 6 hardest, and 6 of the other 10: 7.2 of 8.
  assert abs(above["0"] - 0.75) < 0.04
  assert abs(above["10"] - 0.9) < 0.02


def test_the_predicted_losses_rank_as_the_true_ones():
  task, variables, _ = trained()
  views = jax.jit(task.views)(variables, pictures(seed=1000, count=64), KEY)
  there = ~np.isnan(views["loss"])
  assert there.sum((1, 2)).tolist() == [12] * 64
  np.testing.assert_array_equal(there, ~np.isnan(views["predicted"]))
  rank = lambda x: np.argsort(np.argsort(np.where(there, x, np.inf).reshape(64, 16)))
  same = [
    np.corrcoef(a[h], b[h])[0, 1]
    for a, b, h in zip(
      rank(views["predicted"]), rank(views["loss"]), there.reshape(64, 16), strict=True
    )
  ]
  assert np.mean(same) > 0.6


def test_the_teacher_decides_and_the_student_learns():
  task, batch = build(), pictures()
  variables = task.init(KEY, batch)
  jax.tree.map(np.testing.assert_array_equal, variables["teacher"], variables["params"])
  other = jax.tree.map(lambda x: x + 0.1 * jnp.sin(jnp.arange(x.size).reshape(x.shape)), variables)
  loss = lambda variables: total(task.loss(variables, batch, KEY, 10)[0], {})
  taught = {**variables, "teacher": other["teacher"]}
  assert float(loss(taught)) != float(loss(variables))
  slope = jax.jit(jax.grad(loss, allow_int=True))(taught)
  assert all((leaf == 0).all() for leaf in jax.tree.leaves(slope["teacher"]))
  losses = slope["params"]["decoder"]["losses"]
  assert all(float(optax.tree.norm(losses[name])) > 0 for name in ("block_00", "predict"))
  views = lambda v: task.views({**v, "params": variables["params"]}, batch, KEY, 10)
  seen = lambda v: np.isnan(views(v)["seen"])
  assert (seen(taught) != seen(variables)).any()
  np.testing.assert_array_equal(seen({**other, "teacher": taught["teacher"]}), seen(taught))


def test_the_encoder_learns_from_the_ranks_too():
  task, batch = build(), pictures()
  variables = task.init(KEY, batch)

  def ranks(params):
    return task.loss({**variables, "params": params}, batch, KEY, 0)[0]["teach"].sum

  slope = jax.jit(jax.grad(ranks))(variables["params"])
  assert float(optax.tree.norm(slope["encoder"])) > 0
  # But not by making losses what they are foreseen to be.
  assert float(optax.tree.norm(slope["decoder"]["predict"])) == 0


def test_what_foresees_nothing_is_refused():
  for words in ({}, {"score": partial(score.white)}):
    with pytest.raises(BadInput, match=r"(needs loss|needs predicted); reconstruct offers"):
      build(model={"loss_depth": 0}, **words)


def test_without_a_teacher_the_model_decides_itself():
  task = build(teacher=None)
  variables = task.init(KEY, pictures())
  assert "teacher" not in variables
  assert task.update is None
  teach = lambda p: task.loss({**variables, "params": p}, pictures(), KEY, 5)[0]["teach"].sum
  slope = jax.grad(teach)
  assert np.isfinite(float(optax.tree.norm(slope(variables["params"]))))


@functools.cache
def golden():
  """The authors' weights in a task of ours, and what their code answered; see make_hpm.py."""
  stored = load_file(GOLDEN)
  given = {k.removeprefix("golden."): v for k, v in stored.items() if k.startswith("golden.")}
  task = build(channels=3, normalise=True, model={"depth": 2})
  batch = {"image": jnp.asarray(given["pixels"]), "position": jnp.arange(3)}
  variables, report = published.load(GOLDEN, task.init(KEY, batch), patch=(2, 2), grid=(4, 4))
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
  from maskjax import lab

  file = pathlib.Path(__file__).parents[2] / "configs" / "image" / "hpm.py"
  assert lab.load(file).NOTE["scale"]["parameters"] == int(given["parameters_of_base"])
