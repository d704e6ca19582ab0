"""Latent prediction: what is asked and of whom, positions that fade, and what training comes to."""

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

from maskjax import bind, hide, lab, recover, schedule, score, select
from maskjax.errors import BadInput
from maskjax.model.latent_predictor import latent_predictor
from maskjax.record import Record
from maskjax.task import predict_latent
from maskjax.task.teacher import ema
from maskjax.train.state import State
from maskjax.train.step import make_step

KEY = jax.random.key(0)
ROOT = pathlib.Path(__file__).parents[2]
BY_EXAMPLE = bind.Moving(schedule.cosine(1.0, 0.0), each=True)
SIZES = {"width": 16, "depth": 1, "heads": 2, "predictor_width": 16, "predictor_depth": 1}


def build(**words):
  """A tiny task on a grid of 4 x 4 patches: three blocks are asked, of 2 to 6 positions."""
  given = {
    "record": Record("image", (8, 8, 1), {"train": 16}),
    "score": partial(score.white, grid=(9, 2)),
    "select": partial(select.multiblock, targets=3, scale=(0.2, 0.4)),
    "hide": partial(hide.noise, alpha=BY_EXAMPLE),
    "teacher": partial(ema, momentum=0.9),
    **words,
  }
  return predict_latent(
    model=partial(latent_predictor, patch=(2, 2), **SIZES),
    target=recover.latents,
    recover=partial(recover.smooth_l1),
    **given,
  )


def pictures(seed=1, count=8):
  """Each patch says where it is, and a little noise."""
  place = jnp.kron(jnp.sin(5.0 * jnp.arange(16.0)).reshape(4, 4), jnp.ones((2, 2)))[..., None]
  image = place + 0.1 * jax.random.normal(jax.random.key(seed), (count, 8, 8, 1))
  return {"image": image, "position": jnp.arange(count)}


@functools.cache
def tiny():
  """A task, its batch and variables whose teacher is another than the network, and its views."""
  task = build()
  variables = jax.jit(task.init)(KEY, pictures())
  other = jax.tree.map(lambda x: x + 0.1 * jnp.sin(jnp.arange(x.size)).reshape(x.shape), variables)
  return task, pictures(), {**variables, "teacher": other["params"]}, jax.jit(task.views)


@functools.cache
def predicted():
  """The network's own call, compiled once: with all patches as room, positions replaced by rows."""
  network = tiny()[0].network

  def call(variables, patches, hidden, asked, rows):
    degrade = lambda where, _: rows * where
    return network.apply(variables, patches, hidden, asked, keep=16, ask=16, degrade=degrade)

  return jax.jit(call)


def masks(views):
  """What is hidden, and what is asked by view, from pictures of them."""
  gone = lambda name: np.isnan(np.asarray(views[name]))[:, ::2, ::2, 0].reshape(-1, 16)
  return gone("seen"), ~np.stack([gone(f"target {i}") for i in (1, 2, 3)], axis=1)


def test_the_loss_is_that_of_the_teachers_tokens_where_they_are_asked():
  task, batch, variables, views = tiny()
  plain = build(hide=None)
  seen = views(variables, batch, KEY)
  hidden, asked = masks(seen)
  assert not (~hidden[:, None] & asked).any()
  patches = recover.patchify(batch["image"], (2, 2))
  found = predicted()(variables, patches, hidden, asked, jnp.float32(1))
  own = {**variables, "params": variables["teacher"]}
  tokens = np.asarray(task.network.apply(own, patches, method="encode")["tokens"])
  normal = (tokens - tokens.mean(-1, keepdims=True)) / np.sqrt(tokens.var(-1, keepdims=True) + 1e-5)
  costs = []
  for b, v in np.ndindex(asked.shape[:2]):
    at = np.flatnonzero(asked[b, v])
    np.testing.assert_array_equal(found.index[b, v, : len(at)], at)
    gap = np.abs(np.asarray(found.tokens)[b, v, : len(at)] - normal[b, at])
    costs.extend(np.where(gap < 1, gap**2 / 2, gap - 0.5).mean(-1))
  terms, _ = jax.jit(plain.loss)(variables, batch, KEY, 0)
  assert int(terms["recover"].count) == len(costs) == asked.sum()
  np.testing.assert_allclose(terms["recover"].sum, np.sum(costs), rtol=1e-4)


def test_hidden_content_and_unasked_views_change_no_prediction():
  _, batch, variables, views = tiny()
  hidden, asked = masks(views(variables, batch, KEY))
  patches = recover.patchify(batch["image"], (2, 2))
  one = predicted()(variables, patches, hidden, asked, jnp.float32(1))
  broken = jnp.where(hidden[..., None], jnp.nan, patches)
  other = asked.copy()
  other[:, 1:] = True
  again = predicted()(variables, broken, hidden, other, jnp.float32(1))
  there = np.asarray(one.valid[:, 0])
  assert np.isfinite(np.asarray(one.tokens)).all()
  np.testing.assert_allclose(
    np.asarray(one.tokens[:, 0])[there], np.asarray(again.tokens[:, 0])[there], atol=1e-5
  )


def test_with_nothing_left_of_a_position_all_predictions_of_a_view_are_one():
  _, batch, variables, views = tiny()
  hidden, asked = masks(views(variables, batch, KEY))
  patches = recover.patchify(batch["image"], (2, 2))
  for left, differ in ((0.0, False), (1.0, True)):
    found = predicted()(variables, patches, hidden, asked, jnp.float32(left))
    gap = np.abs(np.asarray(found.tokens) - np.asarray(found.tokens)[..., :1, :]).max(-1)
    assert (gap[np.asarray(found.valid)].max() > 1e-2) == differ


def test_every_view_has_a_level_and_noise_of_its_own_wherever_its_example_lies():
  task, batch, variables, views = tiny()
  alpha = np.asarray(views(variables, batch, KEY)["alpha"])
  assert alpha.shape == (8, 3)
  assert len(np.unique(alpha)) == alpha.size
  assert 0 <= alpha.min() < 0.2 < 0.8 < alpha.max() <= 1
  loss = jax.jit(lambda batch: task.loss(variables, batch, KEY, 3)[0]["recover"])
  half = lambda part: jax.tree.map(lambda x: x.reshape(2, 4, *x.shape[1:])[part], batch)
  whole, parts = loss(batch), [loss(half(0)), loss(half(1))]
  assert int(whole.count) == sum(int(part.count) for part in parts)
  np.testing.assert_allclose(whole.sum, sum(part.sum for part in parts), rtol=1e-5)


def test_the_teacher_gets_no_gradient_and_is_what_training_comes_to():
  task, batch, variables, _ = tiny()
  loss = lambda v: task.loss({**variables, **v}, batch, KEY, 0)[0]["recover"].sum
  slope = jax.jit(jax.grad(loss))({name: variables[name] for name in ("params", "teacher")})
  assert float(optax.tree.norm(slope["teacher"])) == 0
  for part in ("encoder", "predictor"):
    assert float(optax.tree.norm(slope["params"][part])) > 0
  final = task.final(variables)
  assert "teacher" not in final
  jax.tree.map(np.testing.assert_array_equal, final["params"], variables["teacher"])
  features = jax.jit(task.features)
  np.testing.assert_array_equal(features(variables, batch)["mean"], features(final, batch)["mean"])
  assert task.final(final) == final


def test_what_lies_nowhere_is_harder_to_foretell():
  """Patches that are told apart by where they lie alone: without noise there would be no levels."""
  task, _, variables, views = tiny()
  tx = optax.adam(5e-3)
  step = jax.jit(make_step(task, tx))
  state = State(jnp.int32(0), KEY, variables, tx.init(variables["params"]), {})
  for i in range(120):
    state, _ = step(state, pictures(seed=2 + i % 4))
  drawn = [views(state.variables, pictures(seed=90 + i), jax.random.key(i)) for i in range(8)]
  alpha, cost = (np.concatenate([np.ravel(d[name]) for d in drawn]) for name in ("alpha", "cost"))
  assert stats.spearmanr(alpha, cost)[0] < -0.5
  assert cost[alpha > 0.75].mean() < 0.6 * cost[alpha < 0.25].mean()


def test_room_for_all_that_is_asked_and_seen_is_enough():
  task, batch, variables, views = tiny()
  hidden, asked = masks(views(variables, batch, KEY))
  small = build(keep=int((~hidden).sum(-1).max()), ask=int(asked.sum(-1).max()))
  terms = [jax.jit(t.loss)(variables, batch, KEY, 0)[0]["recover"] for t in (task, small)]
  # The first step's masks are those of the views.
  np.testing.assert_allclose(terms[0].sum, terms[1].sum, rtol=1e-5)
  assert int(terms[0].count) == int(terms[1].count) == asked.sum()


def test_one_mask_is_asked_where_it_hides():
  task = build(
    score=partial(score.white), select=partial(select.top, ratio=0.75), hide=None, teacher=None
  )
  variables = jax.eval_shape(task.init, KEY, pictures())
  assert "teacher" not in variables
  assert task.update is None
  shown = jax.eval_shape(task.views, variables, pictures(), KEY)
  assert shown["cost"].shape == (8, 1)
  assert "target 2" not in shown


@pytest.mark.parametrize(
  ("words", "says"),
  [
    ({"keep": 0}, "of 16 patches some are seen and some asked, got keep=0 and ask=16"),
    ({"ask": 17}, "got keep=16 and ask=17"),
    ({"score": partial(score.entropy)}, "entropy needs logits; predict_latent offers"),
    ({"hide": partial(hide.mix)}, "mix needs other; predict_latent offers hidden, keys, x"),
    ({"record": Record("text", (8,), {"train": 1})}, "predict_latent takes images"),
  ],
)
def test_what_cannot_be_is_named(words, says):
  with pytest.raises(BadInput, match=says):
    build(**words)


def test_the_papers_model_has_the_public_codes_parameters():
  counted = load_file(ROOT / "tests" / "golden" / "multiblock.safetensors")["parameters_of_huge"]
  for name in ("ijepa", "n_jepa"):
    file = ROOT / "configs" / "latent_prediction" / f"{name}.py"
    assert lab.load(file).NOTE["scale"]["parameters"] == counted.sum()
