"""Classification of images that hide behind each other: partners, areas, labels, and its words."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import bind, hide, keys, recover, reduce, schedule, score, select, stream
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task import classify
from maskjax.task.partner import partners
from maskjax.train.state import State
from maskjax.train.step import make_step

KEY = jax.random.key(0)
SHAPE, CLASSES, SIZE = (8, 6, 2), 5, 16
RECORD = Record("image", SHAPE, {"train": 64}, tuple("abcde"))
ratio = bind.Moving(schedule.beta(1.0, 1.0), each=True)
FMIX = dict(
  score=functools.partial(score.fourier_noise, decay=3.0),
  select=functools.partial(select.top, ratio=ratio),
  hide=functools.partial(hide.mix),
)


class Layer(nn.Module):
  """As little of a classifier as there can be."""

  classes: int

  @nn.compact
  def __call__(self, image, hidden=None, train=False):
    """Logits."""
    return nn.Dense(self.classes)(jnp.tanh(image.reshape(len(image), -1)))


def layer(record_shape, classes):
  return Layer(classes)


def task(**words):
  loss, model = functools.partial(recover.cross_entropy), functools.partial(layer)
  return classify(record=RECORD, model=model, recover=loss, **words)


def batch(size=SIZE):
  rng = np.random.default_rng(1)
  image, label = rng.normal(size=(size, *SHAPE)), rng.integers(0, CLASSES, size)
  made = {"image": image.astype(np.float32), "label": label, "position": np.arange(size)}
  return jax.device_put(made)


def evenly(scores, ratio):
  """A gate that lets the same share of every position through."""
  return jnp.broadcast_to(1 - ratio[:, None], scores.shape)


def blend(x, gate, other):
  """MixUp: both at once, each as strong as its share."""
  return hide.gate(x, gate) + hide.gate(other, 1 - gate)


MADE = {
  "fmix": task(**FMIX),
  "white": task(**{**FMIX, "score": functools.partial(score.white)}),
  "box": task(**{**FMIX, "score": functools.partial(score.box)}),
  "blend": task(
    score=functools.partial(score.white),
    select=functools.partial(evenly, ratio=ratio),
    hide=functools.partial(blend),
  ),
  "fill": task(**{**FMIX, "hide": functools.partial(hide.fill, value=0.0)}),
}


@functools.cache
def found():
  """What every task shows of a batch, what it meets and its losses, in one program."""
  rows, fmix = batch(), MADE["fmix"]
  plain, none = task(), task(**{**FMIX, "hide": None})
  kernel = np.random.default_rng(2).normal(size=(96, CLASSES)).astype(np.float32) / 5
  bias = np.arange(5, dtype=np.float32)
  variables = jax.device_put({"params": {"Dense_0": {"kernel": kernel, "bias": bias}}})
  expected = jax.eval_shape(fmix.init, KEY, rows)
  assert jax.tree.map(jnp.shape, expected) == jax.tree.map(jnp.shape, variables)
  padded = {**rows, "valid": jax.device_put(np.arange(SIZE) % 3 != 0)}
  amounts = functools.partial(dict, a=ratio, b=ratio)

  @jax.jit
  def run(rows, variables):
    key = stream(KEY, "loss", 3)
    met = fmix.pair(rows, key, 0)
    views = {name: made.answers["views"](variables, rows, key) for name, made in MADE.items()}
    seen = views["fmix"]["seen"]
    at = jax.lax.map(
      lambda step: fmix.answers["views"](variables, rows, stream(KEY, "loss", step))["hidden"],
      jnp.array([3, 3, 4]),
    )
    spoilt = jnp.stack([rows["image"].at[::3].set(jnp.nan), rows["image"]])
    alone = lambda image: fmix.pair({**padded, "image": image}, KEY, 0)
    loss = lambda made, rows, key: made.loss(variables, rows, key, 0)[0]["recover"]
    drawn = bind.at(FMIX["select"], 0, keys(KEY, 8)).keywords["ratio"]
    half = bind.at(FMIX["select"], 0, keys(KEY, jnp.arange(4, 8))).keywords["ratio"]
    return {
      "views": views,
      "met": met["other"],
      "loss": loss(fmix, met, key),
      "logits": fmix.network.apply(variables, seen, train=True),
      "steps": at,
      "padded": partners(padded, KEY)["other"],
      "spoilt": jax.lax.map(lambda image: loss(fmix, alone(image), KEY).sum, spoilt),
      "plain": [loss(one, rows, KEY).sum for one in (plain, none)],
      "predicted": fmix.answers["predict"](variables, rows),
      "whole": fmix.network.apply(variables, rows["image"]),
      "amounts": (drawn, half, bind.at(amounts, 0, keys(KEY, 8))()),
    }

  assert "views" not in none.answers
  for made in (none, MADE["fill"]):
    assert made.pair(rows, KEY, 0) is rows
  return jax.tree.map(np.asarray, (rows, run(rows, variables)))


def test_images_labels_and_areas_are_those_of_two():
  rows, got = found()
  views, met = got["views"]["fmix"], got["met"]
  hidden = views["hidden"]
  expected = np.where(hidden[..., None], views["other"], rows["image"])
  np.testing.assert_array_equal(views["seen"], expected)
  np.testing.assert_array_equal(views["other"], met["image"])
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
  rows, made, tx = batch(), MADE["fmix"], optax.sgd(0.1)
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


def test_steps_draw_anew_and_a_step_draws_the_same_again():
  first, again, other = found()[1]["steps"]
  np.testing.assert_array_equal(first, again)
  np.testing.assert_array_equal(first, found()[1]["views"]["fmix"]["hidden"])
  assert (first != other).any(axis=(1, 2)).mean() > 0.8


def test_another_score_is_one_word():
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


def test_hiding_behind_nothing_leaves_labels_alone():
  rows, got = found()
  views = got["views"]["fill"]
  hidden = views["hidden"]
  np.testing.assert_array_equal(views["seen"], np.where(hidden[..., None], 0, rows["image"]))
  np.testing.assert_array_equal(views["target"], np.eye(CLASSES)[rows["label"]])
  assert "other" not in views


def test_without_a_hider_it_is_the_plain_task():
  plain, none = found()[1]["plain"]
  assert plain == none


def test_evaluation_hides_nothing():
  got = found()[1]
  np.testing.assert_array_equal(got["predicted"], got["whole"])
  assert (got["predicted"] != got["logits"]).any()


def test_a_share_for_each_example_needs_keys():
  amount, half, two = found()[1]["amounts"]
  assert amount.shape == (8,)
  assert len(np.unique(amount)) == 8
  np.testing.assert_array_equal(half, amount[4:])
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
