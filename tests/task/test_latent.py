"""Latent prediction: what is asked and of whom, positions that fade, and what training comes to."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from built import FILES
from safetensors.numpy import load_file
from scipy import stats

from maskjax import hide, lab, recover
from maskjax.errors import BadInput
from maskjax.keys import keys, stream
from maskjax.record import Record
from maskjax.task.latent import places
from maskjax.train.run import plain
from maskjax.train.setup.build import make_task
from maskjax.train.state import State
from maskjax.train.step import make_step

KEY = jax.random.key(0)
ROOT = pathlib.Path(__file__).parents[2]
begun = runpy.run_path(str(ROOT / "tests" / "task" / "toy_weights.py"))["begun"]
CONFIGS = {n: f for n, f in FILES.items() if n in ("ijepa", "n_jepa")}
RECORD, ROOM = Record("image", (8, 8, 1), {"train": 16}), 9


def build(name="n_jepa", record=RECORD, **sections):
  """A config on a grid of 4 x 4 patches: three blocks are asked, of 2 to 6 positions."""
  c = plain(lab.load(CONFIGS[name]).get_config("smoke"))
  c["over"]["patch"], c["score"]["grid"] = (2, 2), (9, 2)
  c["select"] = dict(fn="select.multiblock", targets=3, scale=(0.2, 0.4))
  c["hide"]["keep"], c["let"]["blocks"]["count"] = ROOM, 6
  c["teachers"]["teacher"]["momentum"] = 0.999
  for section, fields in sections.items():
    c[section] = {**c[section], **fields}
  return make_task(c, record)


COUNT, STEPS, LEVELS = 8, 101, (0.0, 0.5, 1.0)


def pictures(key):
  """Each patch says where it is, and a little noise."""
  place = jnp.kron(jnp.sin(5.0 * jnp.arange(16.0)).reshape(4, 4), jnp.ones((2, 2)))[..., None]
  image = place + 0.1 * jax.random.normal(key, (COUNT, 8, 8, 1))
  return {"image": image, "position": jnp.arange(COUNT)}


def rows(image):
  """One flag a patch, of pictures with NaN where nothing is shown."""
  return jnp.isnan(image)[..., ::2, ::2, 0].reshape(*image.shape[:-3], 16)


def looks(task, params, given):
  """The networks' own calls with room to see all patches: predictions and tokens, case by case.

  A case is what to take the patches, their masks and levels from, and whether the teacher looks.
  """
  drawn = jax.vmap(lambda key: keys(key, 3))(keys(stream(KEY, "hide"), COUNT))
  modules = task.loss.__self__.parts.modules

  def call(case):
    teacher, patches, hidden, asked, alpha = case
    own = jax.tree.map(lambda a, b: jnp.where(teacher, b, a), *params)
    of = lambda name: {collection: tree[name] for collection, tree in own.items() if name in tree}
    encode = functools.partial(modules["encoder"].apply, of("encoder"))
    predict = functools.partial(modules["predictor"].apply, of("predictor"))
    seen = hide.drop(patches, hidden, keep=16)
    tokens = encode(seen.values, index=seen.index, valid=seen.valid)
    at = hide.drop(jnp.zeros((*asked.shape, 0)), ~asked, keep=6)
    where = hide.noise(
      predict(at.index, method="locate"), at.valid, drawn, alpha=alpha, deviation=0.5**0.5
    )
    found = predict(tokens, seen.index, seen.valid, where, at.valid, method="attend")
    return at._replace(values=found), encode(jnp.nan_to_num(patches))

  cases = jax.lax.map(call, jax.tree.map(lambda *x: jnp.stack(x), *given.values()))
  return {name: jax.tree.map(lambda x, i=i: x[i], cases) for i, name in enumerate(given)}


@functools.cache
def found():
  """A batch seen by variables whose teacher is another than the network, and what training does."""
  task, tx = build(), optax.adam(5e-3)
  made = jax.tree.map(
    np.asarray, begun(jax.eval_shape(task.init, KEY, jax.eval_shape(pictures, KEY)))
  )
  bend = lambda x: (
    x + np.float32(0.1) * np.sin(np.arange(x.size, dtype=np.float32)).reshape(x.shape)
  )
  made["teachers"] = {"teacher": {"params": jax.tree.map(bend, made["params"])}}

  @jax.jit
  def run(made):
    rest = {name: x for name, x in made.items() if name not in ("params", "teachers")}
    full = lambda params, teacher: {
      **rest,
      "params": params,
      "teachers": {"teacher": {"params": teacher}},
    }
    own, batch = (
      (made["params"], made["teachers"]["teacher"]["params"]),
      pictures(jax.random.key(1)),
    )
    state = State(jnp.int32(0), KEY, full(*own), tx.init(own[0]), {})
    step = make_step(task, tx)
    seeds = jnp.concatenate([jnp.ones(1, int), 2 + jnp.arange(1, STEPS) % 4])
    train = lambda state, seed: step(state, pictures(jax.random.key(seed)))
    end, metrics = jax.lax.scan(train, state, seeds)
    trained = end.variables["params"], end.variables["teachers"]["teacher"]["params"]
    probe = lambda i: (trained, pictures(jax.random.key(90 + i)), jax.random.key(i))
    turned = jax.tree.map(lambda x: x[::-1], batch)
    ways = [(own, batch, KEY), (own, turned, KEY), (own, batch, stream(KEY, "loss"))]
    ways = jax.tree.map(lambda *x: jnp.stack(x), *ways, *map(probe, range(8)))
    views = jax.lax.map(lambda way: task.answers["views"](full(*way[0]), *way[1:]), ways)
    seen = jax.tree.map(lambda x: x[0], views)
    # Where it looks, by what was drawn for the batch.
    hidden = rows(seen["seen"])
    asked = ~jnp.stack([rows(seen[f"target {i}"]) for i in (1, 2, 3)], axis=1)
    patches, other = recover.patchify(batch["image"], (2, 2)), asked.at[:, 1:].set(True)
    broken = jnp.where(hidden[..., None], jnp.nan, patches)
    level = lambda x: jnp.full(asked.shape[:2], x)
    cases = {
      "own": (False, patches, hidden, asked, seen["alpha"]),
      "teacher": (True, patches, hidden, asked, seen["alpha"]),
      "broken": (False, broken, hidden, other, level(1.0)),
    }
    for left in LEVELS:
      cases[f"here {left}"] = (False, patches, hidden, asked, level(left))
      cases[f"there {left}"] = (False, patches, hidden, asked[..., ::-1], level(left))
    mean = lambda variables: task.answers["features"](variables, batch)["mean"]
    comes_to = task.final(full(*own))
    tuned = lambda params: mean({**comes_to, "params": params})
    final, tangent = jax.jvp(tuned, (own[1],), (own[0],))
    return {
      "every": views,
      "first": metrics["loss"][0],
      "looks": looks(task, [{**rest, "params": x} for x in own], cases),
      "features": mean(full(*own)),
      "final": final,
      "tangent": tangent,
      "hidden": hidden,
      "asked": asked,
    }

  got = jax.tree.map(np.asarray, run(made))
  of = lambda place: jax.tree.map(lambda x: x[place], got["every"])
  views = {"views": of(0), "turned": of(1), "at once": of(2), "trained": of(slice(3, None))}
  return task, made, {**got, **views}


def test_costs_are_those_of_the_teachers_tokens_where_they_are_asked():
  got = found()[2]
  seen, hidden, asked = got["views"], got["hidden"], got["asked"]
  assert not (~hidden[:, None] & asked).any()
  assert (~hidden).sum(-1).max() <= ROOM
  predicted, tokens = got["looks"]["own"][0], got["looks"]["teacher"][1]
  normal = (tokens - tokens.mean(-1, keepdims=True)) / np.sqrt(tokens.var(-1, keepdims=True) + 1e-5)
  at_once, maps = np.zeros(asked.shape[:2]), np.zeros(asked.shape)
  for b, v in np.ndindex(asked.shape[:2]):
    at = np.flatnonzero(asked[b, v])
    np.testing.assert_array_equal(predicted.index[b, v, : len(at)], at)
    gap = np.abs(predicted.values[b, v, : len(at)] - normal[b, at])
    maps[b, v, at] = np.where(gap < 1, gap**2 / 2, gap - 0.5).mean(-1)
    at_once[b, v] = maps[b, v, at].mean()
  np.testing.assert_allclose(seen["cost"], at_once, rtol=1e-4)
  often = asked.sum(1)
  with np.errstate(invalid="ignore"):
    np.testing.assert_allclose(
      seen["loss"].reshape(8, 16), np.where(often, maps.sum(1) / often, np.nan), rtol=1e-4
    )


def test_hidden_content_and_other_views_change_no_prediction():
  looks = found()[2]["looks"]
  one, again = looks["here 1.0"][0], looks["broken"][0]
  there = one.valid[:, 0]
  np.testing.assert_allclose(one.values[:, 0][there], again.values[:, 0][there], atol=1e-5)


def test_with_nothing_left_of_a_position_it_does_not_matter_where_is_asked():
  looks = found()[2]["looks"]
  for left, differ in zip(LEVELS, (False, True, True), strict=True):
    here, there = looks[f"here {left}"][0], looks[f"there {left}"][0]
    gap = np.abs(here.values - there.values).max(-1)
    assert (gap[here.valid].max() > 1e-2) == differ, left


def test_every_view_has_a_level_of_its_own_wherever_its_example_lies():
  seen, turned = found()[2]["views"], found()[2]["turned"]
  alpha = seen["alpha"]
  assert alpha.shape == (8, 3)
  assert len(np.unique(alpha)) == alpha.size
  assert 0 <= alpha.min() < 0.2 < 0.8 < alpha.max() <= 1
  np.testing.assert_array_equal(turned["alpha"], alpha[::-1])
  np.testing.assert_array_equal(np.isnan(turned["seen"]), np.isnan(seen["seen"])[::-1])
  np.testing.assert_allclose(turned["cost"], seen["cost"][::-1], rtol=1e-4)
  # So has every view its own block, and every example.
  assert len(np.unique(found()[2]["asked"].reshape(-1, 16), axis=0)) > 12


def test_the_teacher_is_what_training_comes_to():
  task, made, _ = found()
  final = task.final(made)
  assert "teachers" not in final
  jax.tree.map(
    np.testing.assert_array_equal, final["params"], made["teachers"]["teacher"]["params"]
  )
  assert task.final(final) == final


def test_features_are_the_teachers_and_of_what_training_came_to_can_be_tuned():
  got = found()[2]
  teachers, own = (got["looks"][who][1].mean(1) for who in ("teacher", "own"))
  for features in (got["features"], got["final"]):
    np.testing.assert_allclose(features, teachers, rtol=1e-4, atol=1e-5)
  assert np.abs(own - teachers).max() > 1e-2
  assert np.abs(got["tangent"]).max() > 1e-2


def test_what_lies_nowhere_is_harder_to_foretell():
  """Patches that are told apart by where they lie alone: without levels all would cost alike."""
  got = found()[2]
  before, drawn = got["at once"], got["trained"]
  asked = ~np.stack([np.isnan(before[f"target {i}"]) for i in (1, 2, 3)], axis=1)
  count = asked[:, :, ::2, ::2, 0].sum(axis=(2, 3))
  # The loss weighs each position alike, whichever view asks for it.
  np.testing.assert_allclose(got["first"], np.average(before["cost"], weights=count), rtol=1e-4)
  alpha, cost = (drawn[name].ravel() for name in ("alpha", "cost"))
  assert stats.spearmanr(alpha, cost)[0] < -0.4
  assert cost[alpha > 0.75].mean() < 0.8 * cost[alpha < 0.25].mean()


def test_one_mask_is_asked_where_it_hides():
  """Of the network itself, without gradients, where there is no teacher."""
  c = lab.load(CONFIGS["ijepa"]).get_config("smoke")
  c.over.patch, c.hide.keep = (2, 2), ROOM
  c.score, c.select = dict(fn="score.uniform"), dict(fn="select.top", ratio=0.75)
  c.let.blocks = dict(fn="task.places", of=dict(asked="hidden"))
  c.answers = dict(c.answers, views=dict(fn="task.latent_views", of=dict(image="batch.image")))
  c.branches = dict(whole=dict(encoder="detached.encoder", hidden="nothing"))
  c.teachers, c.final = {}, ""
  c.answers.features.of.out = "out"
  task = make_task(plain(c), RECORD)
  variables = jax.eval_shape(task.init, KEY, jax.eval_shape(pictures, KEY))
  assert "teachers" not in variables
  assert task.update is None
  shown = jax.eval_shape(task.answers["views"], variables, jax.eval_shape(pictures, KEY), KEY)
  assert shown["cost"].shape == (8, 1)
  assert "target 2" not in shown


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (dict(hide=dict(keep=0)), "0 of 16 patches would be left visible"),
    (dict(hide=dict(keep=17)), "17 of 16 patches would be left visible"),
    (dict(let=dict(where=dict(fn="hide.mix", of=dict(x="located")))), "hide.mix, needs other"),
    (
      dict(record=Record("text", (8,), {"train": 1})),
      r"patch \(2, 2\) has 2 axes",
    ),
  ],
)
def test_what_cannot_be_is_named(words, says):
  with pytest.raises(BadInput, match=says):
    build(**words)


@pytest.mark.parametrize("count", [0, 17])
def test_a_view_asks_at_least_one_position_and_no_more_than_there_are(count):
  with pytest.raises(BadInput, match=f"of 16 positions a view asks at least one, got {count=}"):
    places(jnp.ones((1, 2, 16), bool), count=count)


def test_the_papers_model_has_the_public_codes_parameters():
  counted = load_file(ROOT / "tests" / "golden" / "multiblock.safetensors")["parameters_of_huge"]
  for file in CONFIGS.values():
    assert lab.load(file).NOTE["scale"]["parameters"] == counted.sum()
