"""The masked autoencoder's task: its loss, its masks, and what hidden content may reach."""

import functools
import pathlib
import runpy
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import hide, recover, score, select
from maskjax.errors import BadInput
from maskjax.keys import keys, stream
from maskjax.model.masked_autoencoder import masked_autoencoder
from maskjax.record import Record
from maskjax.task import reconstruct
from maskjax.task.base import total

KEY = jax.random.key(0)
TOY = runpy.run_path(str(pathlib.Path(__file__).with_name("toy_images.py")))
build = TOY["build"]
SHAPES = {"square": (8, 8, 1), "wide": (4, 12, 4)}


def masks(grid, positions, step=0, key=KEY):
  """The masks that the loss draws, by the words themselves."""
  drawn = keys(stream(key, "mask", step), positions)
  return select.top(score.white(drawn, grid), ratio=0.75)


def cut(image):
  """Patches of 2 x 2 pixels, by numpy."""
  b, h, w, c = image.shape
  parts = image.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
  return parts.reshape(b, h * w // 4, 4 * c)


@functools.cache
def losses():
  """Of both shapes: a mask by the words, views by it, and losses with and without normalising."""
  made = {}
  for name, shape in SHAPES.items():
    plain, batch, variables = build(shape, normalise=False)
    task = build(shape)[0]

    @jax.jit
    def run(variables, batch, plain=plain, task=task):
      hidden = masks(task.network.encoder.grid, batch["position"], step=3)
      loss = lambda task: task.loss(variables, batch, KEY, 3)[0]
      views = plain.answers["views"](variables, batch, KEY, hidden=hidden)
      return hidden, views, {False: loss(plain), True: loss(task)}

    made[name] = jax.tree.map(np.asarray, (batch["image"], *run(variables, batch)))
  return made


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("normalise", [True, False])
def test_loss_equals_numpy_from_the_models_prediction(shape, normalise):
  image, hidden, views, terms = losses()[shape]
  n = hidden.shape[1]
  assert hidden.sum(-1).tolist() == [round(0.75 * n)] * 4
  target = cut(image).astype(np.float64)
  if normalise:
    deviation = np.sqrt(target.var(-1, ddof=1, keepdims=True) + 1e-6)
    target = (target - target.mean(-1, keepdims=True)) / deviation
  # What is predicted is what is shown where targets are pixels as they are.
  expected = ((cut(views["prediction"]) - target) ** 2).mean(-1)[hidden]
  assert set(terms[normalise]) == {"recover"}
  term = terms[normalise]["recover"]
  assert int(term.count) == expected.size
  np.testing.assert_allclose(term.sum, expected.sum(), rtol=1e-5)
  np.testing.assert_allclose(total(terms[normalise], {}), expected.mean(), rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_views_are_pictures_of_the_inputs_shape(shape):
  image, hidden, views, _ = losses()[shape]
  assert {v.shape for v in views.values()} == {image.shape}
  np.testing.assert_array_equal(views["input"], image)
  gone = np.isnan(views["seen"])
  np.testing.assert_array_equal(cut(gone), np.broadcast_to(hidden[..., None], cut(gone).shape))
  np.testing.assert_array_equal(np.where(gone, 0, views["seen"]), np.where(gone, 0, image))
  pasted = np.where(gone, views["prediction"], views["input"])
  np.testing.assert_array_equal(views["pasted"], pasted)


def test_the_encoder_sees_exactly_the_visible_patches(monkeypatch):
  seen = []

  def spy(x, hidden, *, keep):
    seen.append((x.shape[-2], keep))
    return hide.drop(x, hidden, keep=keep)

  # By its name the package gives the function that the module is called after.
  monkeypatch.setattr(sys.modules["maskjax.model.masked_autoencoder"], "drop", spy)
  task, batch, variables = build()
  jax.eval_shape(task.loss, variables, batch, KEY, 0)
  assert set(seen) == {(16, 16 - round(0.75 * 16))}


WAYS = [(0, 0, False), (1, 0, False), (0, 0, True)]


@functools.cache
def found():
  """Slopes by hidden content, losses by step, masks by key and place, features: one program."""
  task, batch, variables = build()
  few, many = (build(keep=keep)[0] for keep in (2, 8))

  @jax.jit
  def run(variables, batch):
    patches, hidden = recover.patchify(batch["image"], (2, 2)), masks((4, 4), batch["position"])
    target = recover.pixels().encode(patches)

    def loss(params, patches):
      full = {**variables, "params": params}
      prediction = task.network.apply(full, patches, hidden, keep=4, exact=True)
      term = recover.squared_error(prediction, target, hidden)
      return term.sum / term.count, prediction

    slopes = jax.grad(loss, argnums=(0, 1), has_aux=True)
    other = lambda content: jnp.where(hidden[..., None], content, patches)
    at = lambda step: task.loss(variables, batch, KEY, step)[0]["recover"].sum
    turned = {name: x[::-1] for name, x in batch.items()}
    both = jax.tree.map(lambda *x: jnp.stack(x), *[turned if t else batch for *_, t in WAYS])
    own = jnp.stack([jax.random.key(k) for k, *_ in WAYS])
    seen = lambda x: jnp.isnan(task.answers["views"](variables, x[0], x[1])["seen"]).any(-1)
    apart = jnp.stack([batch["position"], batch["position"] + 9])
    features = lambda position: task.answers["features"](variables, {**batch, "position": position})
    return {
      "hidden": hidden,
      "slopes": jax.lax.map(
        lambda x: slopes(variables["params"], x),
        jnp.stack([patches, other(jnp.nan), other(1e30)]),
      ),
      "steps": jax.lax.map(at, jnp.array([0, 1, 0, 1000])),
      "seen": jax.lax.map(seen, (both, own)),
      "drawn": jax.lax.map(lambda step: masks((4, 4), jnp.arange(64), step), jnp.arange(3)),
      "often": masks((14, 14), jnp.arange(200)),
      "features": jax.lax.map(features, apart),
      "kept": [one.loss(variables, batch, KEY, 0)[0]["recover"] for one in (few, many)],
    }

  return jax.tree.map(np.asarray, run(variables, batch))


@pytest.mark.parametrize("content", [np.nan, 1e30])
def test_hidden_content_reaches_the_gradient_through_the_target_alone(content):
  place = 1 if np.isnan(content) else 2
  for leaf in jax.tree.leaves(found()["slopes"]):
    assert np.isfinite(leaf[place]).all()
    np.testing.assert_array_equal(leaf[0], leaf[place])
  (_, slope), _ = found()["slopes"]
  hidden = found()["hidden"]
  assert (slope[0][hidden] == 0).all()
  assert (slope[0][~hidden] != 0).any()


def test_every_position_is_hidden_as_often_as_any_other():
  hidden, draws = found()["often"], 200
  assert (hidden.sum(-1) == 147).all()
  often = hidden.mean(0).reshape(14, 14)
  for edge in (often[0], often[-1], often[:, 0], often[:, -1]):
    assert abs(edge.mean() - 0.75) < 0.04
    assert edge.min() > 0.55
    assert edge.max() < 0.95
  # Exact counts take one degree of freedom; 0.1 % points of chi-square with 195, from both sides.
  spread = ((often - 0.75) ** 2 / (0.75 * 0.25 / draws)).sum() * 195 / 196
  assert 138 < spread < 262


def test_masks_differ_between_examples_steps_and_keys_and_not_otherwise():
  """Epochs differ because steps do: the step is folded in, and no step comes twice."""
  sums = found()["steps"].tolist()
  assert sums[0] == sums[2]
  assert len(set(sums)) == 3
  assert len(np.unique(found()["drawn"].reshape(-1, 16), axis=0)) > 180
  own, other, _ = found()["seen"]
  assert (own != other).any()
  assert len({row.tobytes() for row in own}) == 4


def test_an_examples_mask_follows_its_position_not_its_place():
  whole, _, turned = found()["seen"]
  np.testing.assert_array_equal(turned, whole[::-1])


def test_features_hide_nothing_and_are_deterministic():
  for leaf in jax.tree.leaves(found()["features"]):
    np.testing.assert_array_equal(leaf[0], leaf[1])
  assert found()["features"]["tokens"].shape[1:] == (4, 16, 16)


def test_a_given_keep_pads_or_leaves_out():
  for term in found()["kept"]:
    assert np.isfinite(term.sum)
    assert int(term.count) == 4 * 12


@pytest.mark.parametrize(
  ("options", "says"),
  [
    ({"ratio": 1.0}, "^0 of 16 patches would be left visible"),
    ({"ratio": 1.5}, r"must lie in \[0, 1\], got 1.5"),
    ({"keep": 17}, "^17 of 16 patches"),
    ({"keep": 0}, "^0 of 16 patches"),
    ({"ratio": None}, "^top hides no fixed number of patches: set task.keep$"),
  ],
)
def test_what_leaves_nothing_visible_is_refused(options, says):
  with pytest.raises(BadInput, match=says):
    build(**options)


def test_data_that_are_no_images_are_refused():
  with pytest.raises(BadInput, match="takes images, videos and tables, the data set holds audio"):
    reconstruct(
      record=Record("audio", (100, 1), {}),
      model=masked_autoencoder,
      score=functools.partial(score.white),
      select=functools.partial(select.top, ratio=0.5),
      target=recover.pixels,
      recover=recover.squared_error,
    )
