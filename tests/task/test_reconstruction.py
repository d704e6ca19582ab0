"""Masked autoencoders of images as graphs: loss, masks, and what hidden content may reach."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from user_package.configs import small

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.base import total
from maskjax.train.setup.build import make_task

KEY, B, SHAPE = jax.random.key(0), 4, (4, 12, 4)
RECORD = Record("image", SHAPE, {"train": B})
IMAGE = np.random.default_rng(1).normal(size=(B, *SHAPE)).astype(np.float32)
begun = runpy.run_path(str(pathlib.Path(__file__).with_name("toy_weights.py")))["begun"]
WAYS = [(0, 0, False), (1, 0, False), (0, 0, True)]


def cut(image):
  """Patches of 2 x 2 pixels, by numpy."""
  b, h, w, c = image.shape
  parts = image.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
  return parts.reshape(b, h * w // 4, 4 * c)


@functools.cache
def found():
  """Losses and views by one mask, slopes by hidden content, masks by step, key and place."""
  plain = make_task(small(), RECORD)
  normalised = make_task(small(target=dict(fn="recover.pixels")), RECORD)
  batch = jax.device_put({"image": IMAGE, "position": np.arange(B)})
  variables = begun(jax.eval_shape(plain.init, KEY, batch))
  of = plain.loss.__self__

  @jax.jit
  def run(variables, batch):
    at = lambda batch, key=KEY, step=3: of.run(variables, batch, key, step, train=True)[0]
    hidden, target = at(batch).take("hidden", "target")
    gone = of.parts.over.back(jnp.broadcast_to(hidden[..., None], target.shape))

    def loss(params, image):
      given = {**batch, "image": image}
      run, _ = of.run({**variables, "params": params}, given, KEY, 3, train=True)
      term, prediction = run.ask("losses.recover", "prediction", target=target)
      return term.sum / term.count, prediction

    other = lambda content: jnp.where(gone, content, batch["image"])
    images = jnp.stack([batch["image"], other(jnp.nan), other(1e30)])
    slopes = jax.grad(loss, argnums=(0, 1), has_aux=True)
    turned = {name: x[::-1] for name, x in batch.items()}
    both = jax.tree.map(lambda *x: jnp.stack(x), *[turned if t else batch for *_, t in WAYS])
    own = jnp.stack([jax.random.key(k) for k, *_ in WAYS])
    by_step = lambda step: at(batch, step=step).take("hidden")
    return {
      "hidden": hidden,
      "views": plain.answers["views"](variables, batch, KEY, hidden=hidden),
      "terms": [task.loss(variables, batch, KEY, 3)[0] for task in (plain, normalised)],
      "slopes": jax.lax.map(lambda x: slopes(variables["params"], x), images),
      "ways": jax.lax.map(lambda x: at(x[0], x[1]).take("hidden"), (both, own)),
      "steps": jax.lax.map(by_step, jnp.array([0, 1, 0, 1000])),
    }

  return jax.tree.map(np.asarray, run(variables, batch))


@pytest.mark.parametrize("normalise", [False, True])
def test_loss_equals_numpy_from_what_is_predicted(normalise):
  hidden, term = found()["hidden"], found()["terms"][normalise]["recover"]
  assert hidden.sum(-1).tolist() == [9] * B
  target = cut(IMAGE).astype(np.float64)
  if normalise:
    deviation = np.sqrt(target.var(-1, ddof=1, keepdims=True) + 1e-6)
    target = (target - target.mean(-1, keepdims=True)) / deviation
  # What is predicted is what is shown where targets are pixels as they are.
  expected = ((cut(found()["views"]["prediction"]) - target) ** 2).mean(-1)[hidden]
  assert int(term.count) == expected.size
  np.testing.assert_allclose(term.sum, expected.sum(), rtol=1e-5)
  np.testing.assert_allclose(total({"recover": term}, {}), expected.mean(), rtol=1e-5)


def test_views_are_pictures_of_the_shape_of_the_input():
  views, hidden = found()["views"], found()["hidden"]
  assert {v.shape for v in views.values()} == {IMAGE.shape}
  np.testing.assert_array_equal(views["input"], IMAGE)
  gone = np.isnan(views["seen"])
  np.testing.assert_array_equal(cut(gone), np.broadcast_to(hidden[..., None], cut(gone).shape))
  np.testing.assert_array_equal(np.where(gone, 0, views["seen"]), np.where(gone, 0, IMAGE))
  pasted = np.where(gone, views["prediction"], views["input"])
  np.testing.assert_array_equal(views["pasted"], pasted)


def test_the_encoder_sees_exactly_the_visible_patches():
  task = make_task(small(), RECORD)
  batch = {"image": jnp.asarray(IMAGE), "position": jnp.arange(B)}
  of = task.loss.__self__

  def seen(key):
    run, _ = of.run(task.init(key, batch), batch, key, 0, train=True)
    return run.take("seen.values", "out.tokens")

  values, tokens = jax.eval_shape(seen, KEY)
  assert (values.shape, tokens.shape) == ((B, 3, 16), (B, 3, 8))


@pytest.mark.parametrize("content", [np.nan, 1e30])
def test_hidden_content_reaches_the_gradient_through_the_target_alone(content):
  place = 1 if np.isnan(content) else 2
  for leaf in jax.tree.leaves(found()["slopes"]):
    assert np.isfinite(leaf[place]).all()
    np.testing.assert_array_equal(leaf[0], leaf[place])
  (_, slope), _ = found()["slopes"]
  slope, hidden = cut(slope[0]), found()["hidden"]
  assert (slope[hidden] == 0).all()
  assert (slope[~hidden] != 0).any()


def test_masks_differ_between_examples_steps_and_keys_and_not_otherwise():
  """Epochs differ because steps do: the step is folded in, and no step comes twice."""
  first, second, again, later = found()["steps"]
  np.testing.assert_array_equal(first, again)
  assert len({mask.tobytes() for mask in (first, second, later)}) == 3
  own, other, _ = found()["ways"]
  assert (own != other).any()
  assert len({row.tobytes() for row in own}) == B


def test_the_mask_of_an_example_follows_its_position_not_its_place():
  whole, _, turned = found()["ways"]
  np.testing.assert_array_equal(turned, whole[::-1])


@pytest.mark.parametrize(
  ("select", "keep", "says"),
  [
    (dict(ratio=1.0), None, "^0 of 12 patches would be left visible"),
    (dict(ratio=1.5), None, r"must lie in \[0, 1\], got 1.5"),
    (dict(ratio=0.75), 13, "^13 of 12 patches"),
    (dict(ratio=0.75), 0, "^0 of 12 patches"),
    (dict(ratio=0.75), (4, 13), "^13 of 12 patches"),
    ({}, None, "^top hides no fixed number of patches"),
  ],
)
def test_what_leaves_nothing_visible_is_refused(select, keep, says):
  config = small(select=dict(fn="select.top", **select), hide=dict(fn="hide.drop", keep=keep))
  with pytest.raises(BadInput, match=says):
    make_task(config, RECORD)


def test_a_score_with_parameters_learns_to_hide_what_is_hard():
  record = Record("image", (8, 8, 1), {"train": B})
  config = small(score=dict(fn="user_package.parts:Wanted"))
  teach = dict(fn="recover.policy_gradient", baseline="mean", of=dict(asked="asked"))
  config["losses"]["teach"] = teach
  config["let"] = dict(reward=dict(fn="task.reward", loss=dict(fn="recover.squared_error")))
  task = make_task(config, record)
  # Noise in the first half of the picture, which cannot be predicted; nothing in the other.
  image = np.random.default_rng(1).normal(size=(B, 8, 8, 1)).astype(np.float32)
  image[:, 4:] = 0
  batch = jax.device_put({"image": image, "position": np.arange(B)})
  variables = begun(jax.eval_shape(task.init, KEY, batch))
  start = {**variables["params"], "score": {"wanted": jnp.zeros(16)}}

  def step(params, i):
    loss = lambda params: total(task.loss({**variables, "params": params}, batch, KEY, i)[0], {})
    return jax.tree.map(lambda p, g: p - 0.5 * g, params, jax.grad(loss)(params)), None

  train = jax.jit(lambda params: jax.lax.scan(step, params, jnp.arange(60))[0])
  wanted = np.asarray(train(start)["score"]["wanted"])
  assert wanted[:8].mean() > wanted[8:].mean() + 0.1
