"""Classification of images that hide behind each other: partners, areas, labels, and its words."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import bind, hide, keys, recover, reduce, schedule, score, select, stream
from maskjax.errors import BadInput
from maskjax.model import resnet
from maskjax.record import Record
from maskjax.task import classify
from maskjax.task.partner import partners
from maskjax.train.state import start
from maskjax.train.step import make_step

KEY = jax.random.key(0)
SHAPE, CLASSES, SIZE = (8, 6, 2), 5, 16
RECORD = Record("image", SHAPE, {"train": 64}, tuple("abcde"))
MODEL = functools.partial(resnet, depth=8, width=4, norm="group")
ratio = bind.Moving(schedule.beta(1.0, 1.0), each=True)
FMIX = dict(
  score=functools.partial(score.fourier_noise, decay=3.0),
  select=functools.partial(select.top, ratio=ratio),
  hide=functools.partial(hide.mix),
)


def task(model=MODEL, **words):
  loss = functools.partial(recover.cross_entropy)
  return classify(record=RECORD, model=model, recover=loss, **words)


def batch(size=SIZE):
  image = jax.random.normal(jax.random.key(1), (size, *SHAPE))
  label = jax.random.randint(jax.random.key(2), (size,), 0, CLASSES)
  return {"image": image, "label": label, "position": jnp.arange(size)}


def seen(made, rows, step=3):
  """What the model was shown and asked in a loss, by a model that gives its images away."""
  return made.views({}, rows, stream(KEY, "loss", step))


def test_images_labels_and_areas_are_those_of_two():
  rows, made = batch(), task(**FMIX)
  views = seen(made, rows)
  hidden = np.asarray(views["hidden"])
  expected = np.where(hidden[..., None], views["other"], rows["image"])
  np.testing.assert_array_equal(views["seen"], expected)
  met = made.pair(rows, stream(KEY, "loss", 3), 0)["other"]
  np.testing.assert_array_equal(views["other"], met["image"])
  # The share is the area that there is, not the one that was asked for.
  share = hidden.reshape(SIZE, -1).mean(1)[:, None]
  one_hot = np.eye(CLASSES)
  target = (1 - share) * one_hot[rows["label"]] + share * one_hot[met["label"]]
  np.testing.assert_allclose(views["target"], target, rtol=1e-6, atol=1e-7)
  # Areas differ from example to example, over all that is possible.
  assert len(np.unique(share)) > SIZE / 2
  assert share.min() < 0.2
  assert share.max() > 0.8


def test_the_loss_is_that_of_both_labels_weighed_by_area():
  rows, made = batch(), task(**FMIX)
  variables = made.init(KEY, rows)
  key = stream(KEY, "loss", 3)
  met = made.pair(rows, key, 0)
  term = made.loss(variables, met, key, 0)[0]["recover"]
  views = made.views(variables, rows, key)
  logits = made.network.apply(variables, views["seen"], train=True)
  share = np.asarray(views["hidden"]).reshape(SIZE, -1).mean(1)
  nats = lambda label: optax.softmax_cross_entropy_with_integer_labels(logits, label)
  expected = (1 - share) * nats(rows["label"]) + share * nats(met["other"]["label"])
  np.testing.assert_allclose(term.sum, expected.sum(), rtol=1e-5)
  assert int(term.count) == SIZE


def test_partners_are_a_permutation_of_positions_and_change_with_the_key():
  rows = batch(64)
  chosen = np.asarray(partners(rows, KEY)["other"]["position"])
  assert sorted(chosen) == list(range(64))
  assert (chosen != np.arange(64)).mean() > 0.8
  assert (chosen != np.asarray(partners(rows, jax.random.key(7))["other"]["position"])).any()
  # By position, not by where in memory an example lies.
  order = np.random.default_rng(0).permutation(64)
  shuffled = partners({name: x[order] for name, x in rows.items()}, KEY)
  np.testing.assert_array_equal(shuffled["other"]["position"], chosen[order])
  np.testing.assert_array_equal(shuffled["other"]["image"], rows["image"][chosen[order]])


def test_nobody_meets_padding():
  rows = {**batch(), "valid": jnp.arange(SIZE) % 3 != 0}
  met = partners(rows, KEY)["other"]
  own = np.asarray(met["position"]) == np.arange(SIZE)
  assert (np.asarray(met["valid"]) | own).all()
  assert not own.all()
  bad = rows["image"].at[::3].set(jnp.nan)
  made = task(**FMIX)
  variables = made.init(KEY, rows)
  loss = lambda image: made.loss(variables, made.pair({**rows, "image": image}, KEY, 0), KEY, 0)
  np.testing.assert_array_equal(loss(bad)[0]["recover"].sum, loss(rows["image"])[0]["recover"].sum)


def test_where_devices_hold_parts_they_meet_all():
  rows = batch()
  parts = jax.tree.map(lambda x: x.reshape(4, 4, *x.shape[1:]), rows)
  local = reduce.across("i")(lambda rows: partners(rows, KEY))
  got = jax.vmap(local, axis_name="i")(parts)
  whole = jax.tree.map(lambda x: x.reshape(4, 4, *x.shape[1:]), partners(rows, KEY))
  jax.tree.map(np.testing.assert_array_equal, got, whole)


@pytest.mark.parametrize("parts", [2, 4])
def test_microbatches_equal_one_batch(parts):
  rows, made, tx = batch(), task(**FMIX), optax.sgd(0.1)
  assert not made.coupled
  state = start(made, tx, KEY, rows, ema=False)
  one, metrics = jax.jit(make_step(made, tx))(state, rows)
  several, others = jax.jit(make_step(made, tx, accumulate=parts))(state, rows)
  np.testing.assert_allclose(metrics["loss"], others["loss"], rtol=1e-5)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
  jax.tree.map(close, one.variables, several.variables)


def test_steps_draw_anew_and_a_step_draws_the_same_again():
  rows, made = batch(), task(**FMIX)
  first, again, other = (np.asarray(seen(made, rows, step)["hidden"]) for step in (3, 3, 4))
  np.testing.assert_array_equal(first, again)
  assert (first != other).any(axis=(1, 2)).mean() > 0.8


@pytest.mark.parametrize("name", ["white", "box"])
def test_another_score_is_one_word(name):
  made = task(**{**FMIX, "score": functools.partial(getattr(score, name))})
  share = np.asarray(seen(made, batch())["hidden"]).reshape(SIZE, -1).mean(1)
  np.testing.assert_allclose(share, seen(task(**FMIX), batch())["hidden"].mean((1, 2)), rtol=1e-6)


def evenly(scores, ratio):
  """A gate that lets the same share of every position through."""
  return jnp.broadcast_to(1 - ratio[:, None], scores.shape)


def blend(x, gate, other):
  """MixUp: both at once, each as strong as its share."""
  return hide.gate(x, gate) + hide.gate(other, 1 - gate)


def test_gates_of_functions_from_elsewhere_mix_too():
  words = dict(score=functools.partial(score.white), hide=functools.partial(blend))
  made, rows = task(select=functools.partial(evenly, ratio=ratio), **words), batch()
  views = seen(made, rows)
  gate = np.asarray(views["hidden"])
  expected = gate[..., None] * rows["image"] + (1 - gate[..., None]) * views["other"]
  np.testing.assert_allclose(views["seen"], expected, rtol=1e-5, atol=1e-6)
  met = made.pair(rows, stream(KEY, "loss", 3), 0)["other"]
  share, one_hot = 1 - gate[:, 0, 0, None], np.eye(CLASSES)
  target = (1 - share) * one_hot[rows["label"]] + share * one_hot[met["label"]]
  np.testing.assert_allclose(views["target"], target, rtol=1e-5, atol=1e-6)


def test_hiding_behind_nothing_leaves_labels_alone():
  words = {**FMIX, "hide": functools.partial(hide.fill, value=0.0)}
  made, rows = task(**words), batch()
  views = seen(made, rows)
  hidden = np.asarray(views["hidden"])
  np.testing.assert_array_equal(views["seen"], np.where(hidden[..., None], 0, rows["image"]))
  np.testing.assert_array_equal(views["target"], np.eye(CLASSES)[rows["label"]])
  assert "other" not in views
  assert made.pair(rows, KEY, 0) is rows


def test_without_a_hider_it_is_the_plain_task():
  rows, plain, none = batch(), task(), task(**{**FMIX, "hide": None})
  variables = plain.init(KEY, rows)
  terms = [one.loss(variables, rows, KEY, 0)[0]["recover"].sum for one in (plain, none)]
  assert terms[0] == terms[1]
  assert none.views is None
  assert none.pair(rows, KEY, 0) is rows


def test_evaluation_hides_nothing():
  rows, made = batch(), task(**FMIX)
  variables = made.init(KEY, rows)
  np.testing.assert_array_equal(
    made.predict(variables, rows), made.network.apply(variables, rows["image"])
  )


def test_a_share_for_each_example_needs_keys():
  amount = bind.at(FMIX["select"], 0, keys(KEY, 8)).keywords["ratio"]
  assert amount.shape == (8,)
  assert len(np.unique(np.asarray(amount))) == 8
  half = bind.at(FMIX["select"], 0, keys(KEY, jnp.arange(4, 8))).keywords["ratio"]
  np.testing.assert_array_equal(half, amount[4:])
  two = bind.at(functools.partial(dict, a=ratio, b=ratio), 0, keys(KEY, 8))()
  assert (two["a"] != two["b"]).all()
  with pytest.raises(BadInput, match=r"^ratio is to be drawn for each example: here"):
    bind.at(FMIX["select"], 0)


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (dict(score=None), "the config needs both"),
    (dict(select=None), "the config needs both"),
    (dict(score=functools.partial(score.words)), "words needs unit; classify offers"),
    (dict(hide=functools.partial(hide.fill)), "fill needs value; classify offers"),
  ],
)
def test_bad_input(words, says):
  with pytest.raises(BadInput, match=says):
    task(**{**FMIX, **words})
