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
from maskjax.keys import keys, stream
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
ROOM = 9


def build(**words):
  """A tiny task on a grid of 4 x 4 patches: three blocks are asked, of 2 to 6 positions."""
  given = {
    "record": Record("image", (8, 8, 1), {"train": 16}),
    "score": partial(score.white, grid=(9, 2)),
    "select": partial(select.multiblock, targets=3, scale=(0.2, 0.4)),
    "hide": partial(hide.noise, alpha=BY_EXAMPLE),
    "teacher": partial(ema, momentum=0.999),
    "keep": ROOM,
    "ask": 6,
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
def network():
  """The network's own calls with room to see all patches, compiled once: predictions and tokens."""
  own = tiny()[0].network
  drawn = jax.vmap(lambda key: keys(key, 3))(keys(stream(KEY, "hide"), 8))

  def call(variables, patches, hidden, asked, alpha):
    degrade = lambda where, there: hide.noise(where, there, drawn, alpha=alpha)
    found = own.apply(variables, patches, hidden, asked, keep=16, ask=6, degrade=degrade)
    return found, own.apply(variables, jnp.nan_to_num(patches), method="encode")["tokens"]

  return jax.jit(call)


@functools.cache
def shown():
  """Views of the batch, what they hide and ask, and its patches."""
  _, batch, variables, views = tiny()
  seen = {name: np.asarray(x) for name, x in views(variables, batch, KEY).items()}
  gone = lambda name: np.isnan(seen[name])[:, ::2, ::2, 0].reshape(-1, 16)
  asked = ~np.stack([gone(f"target {i}") for i in (1, 2, 3)], axis=1)
  return seen, gone("seen"), asked, recover.patchify(batch["image"], (2, 2))


def test_costs_are_those_of_the_teachers_tokens_where_they_are_asked():
  _, _, variables, _ = tiny()
  seen, hidden, asked, patches = shown()
  assert not (~hidden[:, None] & asked).any()
  assert (~hidden).sum(-1).max() <= ROOM
  found, _ = network()(variables, patches, hidden, asked, seen["alpha"])
  taught = {**variables, "params": variables["teacher"]}
  tokens = np.asarray(network()(taught, patches, hidden, asked, seen["alpha"])[1])
  normal = (tokens - tokens.mean(-1, keepdims=True)) / np.sqrt(tokens.var(-1, keepdims=True) + 1e-5)
  at_once, maps = np.zeros(asked.shape[:2]), np.zeros(asked.shape)
  for b, v in np.ndindex(asked.shape[:2]):
    at = np.flatnonzero(asked[b, v])
    np.testing.assert_array_equal(found.index[b, v, : len(at)], at)
    gap = np.abs(np.asarray(found.tokens)[b, v, : len(at)] - normal[b, at])
    maps[b, v, at] = np.where(gap < 1, gap**2 / 2, gap - 0.5).mean(-1)
    at_once[b, v] = maps[b, v, at].mean()
  np.testing.assert_allclose(seen["cost"], at_once, rtol=1e-4)
  often = asked.sum(1)
  with np.errstate(invalid="ignore"):
    np.testing.assert_allclose(
      seen["loss"].reshape(8, 16), np.where(often, maps.sum(1) / often, np.nan), rtol=1e-4
    )


def test_hidden_content_and_other_views_change_no_prediction():
  _, _, variables, _ = tiny()
  _, hidden, asked, patches = shown()
  left = np.ones(asked.shape[:2], np.float32)
  one, _ = network()(variables, patches, hidden, asked, left)
  broken = jnp.where(hidden[..., None], jnp.nan, patches)
  other = asked.copy()
  other[:, 1:] = True
  again, _ = network()(variables, broken, hidden, other, left)
  there = np.asarray(one.valid[:, 0])
  np.testing.assert_allclose(
    np.asarray(one.tokens[:, 0])[there], np.asarray(again.tokens[:, 0])[there], atol=1e-5
  )


def test_with_nothing_left_of_a_position_it_does_not_matter_where_is_asked():
  _, _, variables, _ = tiny()
  _, hidden, asked, patches = shown()
  for left, differ in ((0.0, False), (0.5, True), (1.0, True)):
    alpha = np.full(asked.shape[:2], left, np.float32)
    here, there = (
      network()(variables, patches, hidden, at, alpha)[0] for at in (asked, asked[..., ::-1])
    )
    gap = np.abs(np.asarray(here.tokens) - np.asarray(there.tokens)).max(-1)
    assert (gap[np.asarray(here.valid)].max() > 1e-2) == differ


def test_every_view_has_a_level_of_its_own_wherever_its_example_lies():
  _, batch, variables, views = tiny()
  seen = shown()[0]
  alpha = seen["alpha"]
  assert alpha.shape == (8, 3)
  assert len(np.unique(alpha)) == alpha.size
  assert 0 <= alpha.min() < 0.2 < 0.8 < alpha.max() <= 1
  turned = views(variables, jax.tree.map(lambda x: x[::-1], batch), KEY)
  np.testing.assert_array_equal(turned["alpha"], alpha[::-1])
  np.testing.assert_array_equal(np.isnan(turned["seen"]), np.isnan(seen["seen"])[::-1])
  np.testing.assert_allclose(turned["cost"], seen["cost"][::-1], rtol=1e-4)


def test_the_teacher_is_what_training_comes_to():
  task, batch, variables, _ = tiny()
  final = task.final(variables)
  assert "teacher" not in final
  jax.tree.map(np.testing.assert_array_equal, final["params"], variables["teacher"])
  assert task.final(final) == final
  own = jax.jit(lambda v: task.features(v, batch)["mean"])
  features = own({**variables, "params": variables["teacher"]})
  np.testing.assert_array_equal(own(variables), features)
  assert np.abs(own({**variables, "teacher": variables["params"]}) - features).max() > 1e-2


def test_what_lies_nowhere_is_harder_to_foretell():
  """Patches that are told apart by where they lie alone: without levels all would cost alike."""
  task, batch, variables, views = tiny()
  tx = optax.adam(5e-3)
  step = jax.jit(make_step(task, tx))
  state = State(jnp.int32(0), KEY, variables, tx.init(variables["params"]), {})
  key = stream(KEY, "loss")
  before = views(variables, batch, key)
  asked = ~np.stack([np.isnan(before[f"target {i}"]) for i in (1, 2, 3)], axis=1)
  count = asked[:, :, ::2, ::2, 0].sum(axis=(2, 3))
  _, metrics = step(state, batch)
  # The loss weighs each position alike, whichever view asks for it.
  np.testing.assert_allclose(metrics["loss"], np.average(before["cost"], weights=count), rtol=1e-4)
  for i in range(100):
    state, _ = step(state, pictures(seed=2 + i % 4))
  drawn = [views(state.variables, pictures(seed=90 + i), jax.random.key(i)) for i in range(8)]
  alpha, cost = (np.concatenate([np.ravel(d[name]) for d in drawn]) for name in ("alpha", "cost"))
  assert stats.spearmanr(alpha, cost)[0] < -0.4
  assert cost[alpha > 0.75].mean() < 0.8 * cost[alpha < 0.25].mean()


def test_one_mask_is_asked_where_it_hides():
  task = build(
    score=partial(score.white),
    select=partial(select.top, ratio=0.75),
    hide=None,
    teacher=None,
    ask=12,
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
    ({"keep": 0}, "of 16 patches some are seen and some asked, got keep=0 and ask=6"),
    ({"ask": 17}, "got keep=9 and ask=17"),
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
