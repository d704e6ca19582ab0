"""The masked autoencoder's task: its loss, its masks, and what hidden content may reach."""

import functools
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import bind, hide, recover, score, select
from maskjax.errors import BadInput
from maskjax.keys import keys, stream
from maskjax.model.masked_autoencoder import masked_autoencoder
from maskjax.record import Record
from maskjax.task import reconstruct
from maskjax.task.base import total

KEY = jax.random.key(0)
TINY = {
  "patch": (2, 2),
  "width": 16,
  "depth": 1,
  "heads": 2,
  "decoder_width": 8,
  "decoder_depth": 1,
}
SHAPES = {"square": (8, 8, 1), "wide": (4, 12, 4)}


def build(shape=(8, 8, 1), ratio=0.75, normalise=True, **options):
  """A tiny task, its batch of 4 and its variables."""
  task = reconstruct(
    record=Record("image", shape, {"train": 4}),
    model=functools.partial(masked_autoencoder, decoder_heads=2, **TINY),
    select=functools.partial(select.top, ratio=ratio),
    target=functools.partial(recover.pixels, normalise=normalise),
    recover=functools.partial(recover.squared_error),
    **{"score": functools.partial(score.white), **options},
  )
  image = jax.random.normal(jax.random.key(1), (4, *shape))
  batch = {"image": image, "position": jnp.arange(4)}
  return task, batch, jax.jit(task.init)(KEY, batch)


@functools.cache
def square():
  return build()


def masks(task, grid, positions, step=0, key=KEY):
  """The masks that the loss draws, by the words themselves."""
  drawn = keys(stream(key, "mask", step), positions)
  return select.top(score.white(drawn, grid), ratio=0.75)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("normalise", [True, False])
def test_loss_equals_numpy_from_the_models_prediction(shape, normalise):
  task, batch, variables = build(shape, normalise=normalise)
  n = shape[0] * shape[1] // 4
  patches = recover.patchify(batch["image"], (2, 2))
  hidden = masks(task, task.network.encoder.grid, batch["position"], step=3)
  keep = n - round(0.75 * n)
  assert hidden.sum(-1).tolist() == [n - keep] * 4
  predict = jax.jit(functools.partial(task.network.apply, keep=keep))
  prediction = predict(variables, patches, hidden)
  target = np.asarray(patches, np.float64)
  if normalise:
    deviation = np.sqrt(target.var(-1, ddof=1, keepdims=True) + 1e-6)
    target = (target - target.mean(-1, keepdims=True)) / deviation
  expected = ((np.asarray(prediction, np.float64) - target) ** 2).mean(-1)[np.asarray(hidden)]
  terms, _ = jax.jit(task.loss)(variables, batch, KEY, 3)
  assert set(terms) == {"recover"}
  assert int(terms["recover"].count) == expected.size
  np.testing.assert_allclose(terms["recover"].sum, expected.sum(), rtol=1e-5)
  np.testing.assert_allclose(total(terms, task.weights), expected.mean(), rtol=1e-5)


def test_the_encoder_sees_exactly_the_visible_patches(monkeypatch):
  seen = []

  def spy(x, hidden, *, keep):
    seen.append((x.shape[-2], keep))
    return hide.drop(x, hidden, keep=keep)

  # By its name the package gives the function that the module is called after.
  monkeypatch.setattr(sys.modules["maskjax.model.masked_autoencoder"], "drop", spy)
  task, batch, variables = square()
  # A function of its own: that of the task may have been traced before.
  jax.eval_shape(lambda *given: task.loss(*given), variables, batch, KEY, 0)
  assert set(seen) == {(16, 16 - round(0.75 * 16))}


@pytest.mark.parametrize("content", [np.nan, 1e30])
def test_hidden_content_reaches_the_gradient_through_the_target_alone(content):
  task, batch, variables = square()
  patches = recover.patchify(batch["image"], (2, 2))
  hidden = masks(task, (4, 4), batch["position"])
  target = recover.pixels().encode(patches)

  def value_and_slopes(patches):
    def loss(params, patches):
      full = {**variables, "params": params}
      prediction = task.network.apply(full, patches, hidden, keep=4, exact=True)
      term = recover.squared_error(prediction, target, hidden)
      return term.sum / term.count, prediction

    return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(variables["params"], patches)

  clean = value_and_slopes(patches)
  spoilt = value_and_slopes(jnp.where(hidden[..., None], content, patches))
  for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(spoilt), strict=True):
    assert np.isfinite(a).all()
    np.testing.assert_array_equal(a, b)
  (_, slope), _ = clean
  assert (np.asarray(slope)[np.asarray(hidden)] == 0).all()
  assert (np.asarray(slope)[~np.asarray(hidden)] != 0).any()


def test_every_position_is_hidden_as_often_as_any_other():
  task, _, _ = square()
  draws = 200
  hidden = np.asarray(masks(task, (14, 14), jnp.arange(draws)))
  assert (hidden.sum(-1) == 147).all()
  often = hidden.mean(0).reshape(14, 14)
  for edge in (often[0], often[-1], often[:, 0], often[:, -1]):
    assert abs(edge.mean() - 0.75) < 0.04
    assert edge.min() > 0.55
    assert edge.max() < 0.95
  # Exact counts take one degree of freedom; 0.1 % points of chi-square with 195, from both sides.
  spread = ((often - 0.75) ** 2 / (0.75 * 0.25 / draws)).sum() * 195 / 196
  assert 138 < spread < 262


def views_seen(task, variables, batch, key):
  return np.isnan(jax.jit(task.views)(variables, batch, key)["seen"]).any((-1,))


def test_masks_differ_between_examples_steps_and_keys_and_not_otherwise():
  """Epochs differ because steps do: the step is folded in, and no step comes twice."""
  task, batch, variables = square()
  loss = jax.jit(task.loss)
  sums = [float(loss(variables, batch, KEY, step)[0]["recover"].sum) for step in (0, 1, 0, 1000)]
  assert sums[0] == sums[2]
  assert len(set(sums)) == 3
  drawn = np.concatenate([masks(task, (4, 4), jnp.arange(64), step) for step in range(3)])
  assert len(np.unique(drawn, axis=0)) > 180
  again, other = (views_seen(task, variables, batch, jax.random.key(s)) for s in (0, 1))
  np.testing.assert_array_equal(again, views_seen(task, variables, batch, KEY))
  assert (again != other).any()
  assert len({row.tobytes() for row in again}) == 4


def test_an_examples_mask_follows_its_position_not_its_place():
  task, batch, variables = square()
  whole = views_seen(task, variables, batch, KEY)
  turned = {name: value[::-1] for name, value in batch.items()}
  np.testing.assert_array_equal(views_seen(task, variables, turned, KEY), whole[::-1])


def test_features_hide_nothing_and_are_deterministic():
  task, batch, variables = square()
  features = jax.jit(task.features)
  one = features(variables, batch)
  other = features(variables, {**batch, "position": batch["position"] + 9})
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
    np.testing.assert_array_equal(a, b)
  assert one["tokens"].shape == (4, 16, 16)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_views_are_pictures_of_the_inputs_shape(shape):
  task, batch, variables = build(shape)
  views = jax.jit(task.views)(variables, batch, KEY)
  assert {v.shape for v in views.values()} == {batch["image"].shape}
  np.testing.assert_array_equal(views["input"], batch["image"])
  hidden = np.isnan(views["seen"])
  np.testing.assert_array_equal(
    np.where(hidden, 0, views["seen"]), jnp.where(hidden, 0, batch["image"])
  )
  pasted = jnp.where(hidden, views["prediction"], views["input"])
  np.testing.assert_array_equal(views["pasted"], pasted)


def test_a_given_keep_pads_or_leaves_out():
  for keep in (2, 8):
    task, batch, variables = build(keep=keep)
    terms, _ = jax.jit(task.loss)(variables, batch, KEY, 0)
    assert np.isfinite(terms["recover"].sum)
    assert int(terms["recover"].count) == 4 * 12


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


MOVING = bind.Moving(lambda step: jnp.where(step < 5, 0.25, 0.75))


def test_a_moving_ratio_sees_what_each_bucket_holds():
  task, batch, variables = build(ratio=MOVING, keep=(4, 12))
  for step, keep in ((0, 12), (9, 4)):
    alone, _, _ = build(ratio=1 - keep / 16)
    moving, fixed = (
      jax.jit(t.loss)(variables, batch, KEY, step)[0]["recover"] for t in (task, alone)
    )
    assert int(moving.count) == 4 * (16 - keep)
    np.testing.assert_allclose(moving.sum, fixed.sum, rtol=2e-5)


def test_buckets_compile_once_and_have_gradients():
  task, batch, variables = build(ratio=MOVING, keep=(4, 12))
  traces = []

  def loss(variables, step):
    traces.append(None)
    return total(task.loss(variables, batch, KEY, step)[0], {})

  slope = jax.jit(jax.grad(loss))
  norms = [float(optax.tree.norm(slope(variables, jnp.int32(s))["params"])) for s in (0, 9)]
  assert len(traces) == 1
  assert min(norms) > 0


def test_a_moving_ratio_needs_buckets():
  with pytest.raises(BadInput, match=r"task\.keep"):
    build(ratio=MOVING)
  with pytest.raises(BadInput, match="17 of 16"):
    build(ratio=MOVING, keep=(4, 17))


class Learned(nn.Module):
  """A score for each place, learned."""

  @nn.compact
  def __call__(self, patches, keys):
    """The same scores for every example, with noise."""
    wanted = self.param("wanted", nn.initializers.zeros, (patches.shape[-2],))
    noise = jax.vmap(lambda key: jax.random.gumbel(key, wanted.shape))(keys)
    return wanted + noise


def test_a_score_with_parameters_learns_to_hide_what_is_hard():
  task, batch, _ = build(normalise=False, teach=functools.partial(recover.policy_gradient))
  learned = build(
    normalise=False,
    score=functools.partial(Learned),
    teach=functools.partial(recover.policy_gradient, baseline="mean"),
  )[0]
  # Noise in the first half of the picture, which cannot be predicted; nothing in the other.
  image = batch["image"].at[:, 4:].set(0)
  batch = {**batch, "image": image}
  assert "score" not in jax.eval_shape(task.init, KEY, batch)["params"]
  variables = learned.init(KEY, batch)
  assert variables["params"]["score"]["wanted"].shape == (16,)

  @jax.jit
  def step(params, i):
    loss = lambda params: total(learned.loss({**variables, "params": params}, batch, KEY, i)[0], {})
    return jax.tree.map(lambda p, g: p - 0.5 * g, params, jax.grad(loss)(params))

  params = variables["params"]
  for i in range(60):
    params = step(params, i)
  wanted = params["score"]["wanted"]
  assert wanted[:8].mean() > wanted[8:].mean() + 0.1
