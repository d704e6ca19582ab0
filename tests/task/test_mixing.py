"""Classification of images that hide behind each other: partners, areas, labels, and its words."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import bind, keys, reduce, schedule, select, stream
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.partner import partners
from maskjax.train.state import State
from maskjax.train.step import make_step

KEY = jax.random.key(0)
SHAPE, CLASSES, SIZE = (8, 6, 2), 5, 16
RECORD = Record("image", SHAPE, {"train": 64}, tuple("abcde"))
task_of = runpy.run_path(str(pathlib.Path(__file__).with_name("toy_configs.py")))["task_of"]
ME = "user_package.parts:"


def task(preset="fmix", change=lambda c: None):
  """The task of a preset with the least of networks."""

  def changed(c):
    c.model = dict(fn=ME + "linear")
    change(c)

  return task_of(preset, RECORD, changed)


def blended(c):
  """MixUp: functions from elsewhere, a gate."""
  c.select.fn, c.hide.fn = ME + "evenly", ME + "blend"


def hiding(hide):
  """Pixels hidden by other pixels, by another hider than `mix`."""

  def change(c):
    c.hide = hide

  return change


def batch(size=SIZE):
  rng = np.random.default_rng(1)
  image, label = rng.normal(size=(size, *SHAPE)), rng.integers(0, CLASSES, size)
  made = {"image": image.astype(np.float32), "label": label, "position": np.arange(size)}
  return jax.device_put(made)


@functools.cache
def found():
  """What every task shows of a batch, what it meets and its losses, in one program."""
  made = {
    "fmix": task(),
    "white": task("fmix:white"),
    "box": task("fmix:box"),
    "blend": task(change=blended),
  }
  rows, fmix = batch(), made["fmix"]
  plain, dense = task("fmix:plain"), task("supervised")
  kernel = np.random.default_rng(2).normal(size=(96, CLASSES)).astype(np.float32) / 5
  bias = np.arange(5, dtype=np.float32)
  variables = jax.device_put({"params": {"Dense_0": {"kernel": kernel, "bias": bias}}})
  expected = jax.eval_shape(fmix.init, KEY, rows)
  assert jax.tree.map(jnp.shape, expected) == jax.tree.map(jnp.shape, variables)
  padded = {**rows, "valid": jax.device_put(np.arange(SIZE) % 3 != 0)}

  @jax.jit
  def run(rows, variables):
    key = stream(KEY, "loss", 3)
    met = fmix.pair(rows, key, 0)
    views = {name: one.answers["views"](variables, rows, key) for name, one in made.items()}
    spoilt = jnp.stack([rows["image"].at[::3].set(jnp.nan), rows["image"]])
    alone = lambda image: fmix.pair({**padded, "image": image}, KEY, 0)
    loss = lambda one, rows, key: one.loss(variables, rows, key, 0)[0]["recover"]
    return {
      "views": views,
      "met": met["other"],
      "loss": loss(fmix, met, key),
      "logits": fmix.network.apply(variables, views["fmix"]["seen"], train=True),
      "padded": partners(padded, KEY)["other"],
      "spoilt": jax.lax.map(lambda image: loss(fmix, alone(image), KEY).sum, spoilt),
      "plain": [loss(one, rows, KEY).sum for one in (plain, dense)],
      "predicted": fmix.answers["predict"](variables, rows),
      "whole": fmix.network.apply(variables, rows["image"]),
    }

  assert "views" not in plain.answers
  assert plain.pair(rows, KEY, 0) is rows
  return jax.tree.map(np.asarray, (rows, run(rows, variables)))


def test_images_labels_and_areas_are_those_of_two():
  rows, got = found()
  views, met = got["views"]["fmix"], got["met"]
  hidden = views["hidden"]
  expected = np.where(hidden[..., None], views["other"], rows["image"])
  np.testing.assert_array_equal(views["seen"], expected)
  np.testing.assert_array_equal(views["other"], met["image"])
  np.testing.assert_array_equal(views["input"], rows["image"])
  # The share is the area that there is, not the one that was asked for.
  share = hidden.reshape(SIZE, -1).mean(1)[:, None]
  one_hot = np.eye(CLASSES)
  target = (1 - share) * one_hot[rows["label"]] + share * one_hot[met["label"]]
  # A pixel is a forty-eighth of the area.
  np.testing.assert_allclose(views["target"], target, atol=1e-5)
  # Areas differ from example to example, over all that is possible.
  assert len(np.unique(share)) > SIZE / 2
  assert share.min() < 0.2
  assert share.max() > 0.8
  # And so do the maps that they are cut from: no example's area lies within every larger one.
  flat = hidden.reshape(SIZE, -1)
  inside = (flat[:, None] <= flat).all(-1)
  assert inside.mean() < 0.35


def test_the_loss_is_that_of_both_labels_weighed_by_area():
  rows, got = found()
  share = got["views"]["fmix"]["hidden"].reshape(SIZE, -1).mean(1)
  logits = got["logits"].astype(np.float64)
  logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  nats = lambda label: -np.take_along_axis(logs, label[:, None], -1)[:, 0]
  expected = (1 - share) * nats(rows["label"]) + share * nats(got["met"]["label"])
  np.testing.assert_allclose(got["loss"].sum, expected.sum(), rtol=1e-5)
  assert int(got["loss"].count) == SIZE


def test_partners_are_a_permutation_of_positions_and_change_with_the_key():
  rows = batch(64)
  order = np.random.default_rng(0).permutation(64)
  shuffled = {name: x[order] for name, x in jax.tree.map(np.asarray, rows).items()}
  parts = {name: x.reshape(4, 16, *x.shape[1:]) for name, x in rows.items()}

  @jax.jit
  def run(rows, shuffled, parts):
    local = reduce.across("i")(lambda rows: partners(rows, KEY)["other"])
    meet = lambda rows, seed=0: partners(rows, jax.random.key(seed))["other"]
    return meet(rows), meet(rows, 7), meet(shuffled), jax.vmap(local, axis_name="i")(parts)

  first, other, turned, local = jax.tree.map(np.asarray, run(rows, shuffled, parts))
  chosen = first["position"]
  assert sorted(chosen) == list(range(64))
  assert (chosen != np.arange(64)).mean() > 0.8
  assert (chosen != other["position"]).any()
  # By position, not by where in memory an example lies.
  np.testing.assert_array_equal(turned["position"], chosen[order])
  np.testing.assert_array_equal(turned["image"], np.asarray(rows["image"])[chosen[order]])
  # Where devices hold parts they meet all.
  jax.tree.map(
    lambda part, whole: np.testing.assert_array_equal(part.reshape(whole.shape), whole),
    local,
    first,
  )


def test_nobody_meets_padding():
  met, losses = found()[1]["padded"], found()[1]["spoilt"]
  own = met["position"] == np.arange(SIZE)
  assert (met["valid"] | own).all()
  assert not own.all()
  assert np.isfinite(losses).all()
  assert losses[0] == losses[1]


def test_microbatches_equal_one_batch():
  rows, made, tx = batch(), task(), optax.sgd(0.1)
  assert not made.coupled
  shapes = jax.eval_shape(made.init, KEY, rows)
  draw = np.random.default_rng(2).normal
  variables = jax.tree.map(lambda x: draw(size=x.shape).astype(x.dtype) / 5, shapes)

  @jax.jit
  def run(rows, variables):
    state = State(jnp.int32(0), KEY, variables, tx.init(variables["params"]), {})
    return [make_step(made, tx, accumulate=parts)(state, rows) for parts in (1, 4)]

  (one, metrics), (several, others) = run(rows, variables)
  np.testing.assert_allclose(metrics["loss"], others["loss"], rtol=1e-5)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
  jax.tree.map(close, one.variables, several.variables)


def test_another_score_changes_where_and_not_how_much():
  masks = {name: found()[1]["views"][name]["hidden"] for name in ("fmix", "white", "box")}
  for name in ("white", "box"):
    areas = [masks[n].reshape(SIZE, -1).mean(1) for n in (name, "fmix")]
    np.testing.assert_allclose(*areas, rtol=1e-6, err_msg=name)
    assert (masks[name] != masks["fmix"]).any(), name


def test_gates_of_functions_from_elsewhere_mix_too():
  rows, got = found()
  views = got["views"]["blend"]
  gate = views["hidden"]
  expected = gate[..., None] * rows["image"] + (1 - gate[..., None]) * views["other"]
  np.testing.assert_allclose(views["seen"], expected, rtol=1e-5, atol=1e-6)
  share, one_hot = 1 - gate[:, 0, 0, None], np.eye(CLASSES)
  target = (1 - share) * one_hot[rows["label"]] + share * one_hot[got["met"]["label"]]
  np.testing.assert_allclose(views["target"], target, rtol=1e-5, atol=1e-6)


def test_the_plain_preset_is_supervised_learning():
  plain, dense = found()[1]["plain"]
  assert plain == dense


def test_evaluation_hides_nothing():
  got = found()[1]
  np.testing.assert_array_equal(got["predicted"], got["whole"])
  assert (got["predicted"] != got["logits"]).any()


def test_a_share_for_each_example_is_drawn_with_its_key():
  ratio = bind.Moving(schedule.beta(1.0, 1.0), each=True)
  top = functools.partial(select.top, ratio=ratio)
  drawn = lambda fn, which: bind.at(fn, 0, keys(KEY, which)).keywords
  amount = np.asarray(drawn(top, 8)["ratio"])
  assert len(np.unique(amount)) == 8
  np.testing.assert_array_equal(drawn(top, jnp.arange(4, 8))["ratio"], amount[4:])
  two = drawn(functools.partial(dict, a=ratio, b=ratio), 8)
  assert (np.asarray(two["a"]) != two["b"]).all()
  with pytest.raises(BadInput, match=r"^ratio is to be drawn for each example: here"):
    bind.at(top, 0)


@pytest.mark.parametrize(
  "hide",
  [dict(fn="hide.blur", sigma=1.0), dict(fn="hide.mean"), dict(fn="hide.neighbours")],
  ids=lambda hide: hide["fn"],
)
def test_hiders_see_the_grid(hide):
  made = task(change=hiding(hide))
  variables = jax.eval_shape(made.init, KEY, batch())
  views = jax.eval_shape(made.answers["views"], variables, batch(), KEY)
  assert views["seen"].shape == (SIZE, *SHAPE)


def without(name):
  """A section that is left out."""
  return lambda c: setattr(c, name, None)


def selected_by(score):
  """Pixels that another score ranks."""
  return lambda c: setattr(c, "score", dict(fn=score))


@pytest.mark.parametrize(
  ("change", "says"),
  [
    (without("score"), "needs scores='scores'"),
    (selected_by("score.words"), "needs unit='unit'"),
    (hiding(dict(fn="hide.fill")), "needs value='value'"),
    (hiding(dict(fn="hide.carry")), "no loss reads seen.hidden"),
  ],
  ids=["no score", "units", "no value", "a mask beside the pixels"],
)
def test_bad_input(change, says):
  with pytest.raises(BadInput, match=says):
    task(change=change)
