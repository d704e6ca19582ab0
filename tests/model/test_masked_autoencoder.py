import functools
import math
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_mae import MaskedAutoencoder, masked_autoencoder

from maskjax.errors import BadInput
from maskjax.model.vit import SIZES

close = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "closeness.py"))["close"]
SMALL = {"size": "mu", "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}

# An encoder's block and a decoder's, six products each, and what embeds and predicts.
SUMS = dict(depth=2 * 6 + 3, terms=128)


def build(shape=(8, 12, 3), patch=(4, 4), **changes):
  model = masked_autoencoder(record_shape=shape, patch=patch, **{**SMALL, **changes})
  n, p = math.prod(model.encoder.grid), math.prod(patch) * shape[-1]
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(size=(3, n, p)), jnp.float32)
  hidden = jnp.asarray(rng.permuted(np.tile(np.arange(n) >= n // 3, (3, 1)), axis=1))
  shapes = jax.eval_shape(functools.partial(model.init, keep=n), jax.random.key(0), x, hidden)
  draw = lambda leaf: (rng.normal(size=leaf.shape) / 4).astype(np.float32)
  return model, jax.tree.map(draw, shapes), x, hidden


def apply(model, *inputs, **options):
  return jax.jit(functools.partial(model.apply, **options))(*inputs)


def shape_of(model, *inputs, **options):
  return jax.eval_shape(functools.partial(model.apply, **options), *inputs)


def count(tree):
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


# Published: 85.8M, 303.3M and 630.8M with the position table (MAE, appendix A.4; ViT, table 1), and
# 111.9M, 329.5M and 657.1M with the decoder. Ti and S: 5.5M and 21.6M without head (DeiT, table 1).
@pytest.mark.parametrize(
  ("size", "patch", "encoder", "whole"),
  [
    ("Ti", 16, 5.5, None),
    ("S", 16, 21.7, None),
    ("B", 16, 85.8, 111.9),
    ("L", 16, 303.3, 329.5),
    ("H", 14, 630.8, 657.1),
  ],
)
def test_published_parameter_counts(size, patch, encoder, whole):
  model = masked_autoencoder(record_shape=(224, 224, 3), patch=(patch, patch), size=size)
  n = math.prod(model.encoder.grid)
  patches = jax.ShapeDtypeStruct((1, n, 3 * patch**2), jnp.float32)
  if not whole:
    shapes = jax.eval_shape(model.encoder.init, jax.random.key(0), patches)
    assert round(count(shapes) / 1e6, 1) == encoder
    return
  init = functools.partial(model.init, keep=n // 4)
  shapes = jax.eval_shape(init, jax.random.key(0), patches, jax.ShapeDtypeStruct((1, n), bool))
  sides = [{k: v[part] for k, v in shapes.items()} for part in ("encoder", "decoder")]
  assert round(count(sides[0]) / 1e6, 1) == encoder
  assert round(count(sides) / 1e6, 1) == whole


@pytest.mark.parametrize(
  ("shape", "patch", "class_token"),
  [((8, 12, 1), (4, 4), True), ((12, 8, 4), (2, 4), False), ((4, 4, 8, 2), (2, 2, 4), True)],
)
def test_any_shape_and_channels(shape, patch, class_token):
  model, variables, x, hidden = build(shape, patch, class_token=class_token)
  assert shape_of(model, variables, x, hidden, keep=x.shape[1]).shape == x.shape
  features = shape_of(model, variables, x, method=MaskedAutoencoder.encode)
  assert {k: v.shape for k, v in features.items()} == {
    "mean": (3, 32),
    "tokens": (*x.shape[:2], 32),
    **({"class": (3, 32)} if class_token else {}),
  }


@pytest.fixture(scope="module")
def small():
  """A small autoencoder and what is asked of it, in one program."""
  model, variables, x, hidden = build()
  valid = np.arange(x.shape[-2]) % 3 > 0
  spoilt = jnp.where(valid[:, None], x, jnp.nan)
  there = jnp.asarray(np.broadcast_to(valid, x.shape[:-1]))
  index = np.broadcast_to(np.flatnonzero(valid), (len(x), valid.sum()))
  encoder = {k: v["encoder"] for k, v in variables.items()}
  changed = x.at[:, -1].add(1)
  bounded = build(bounds=(-1, 3))[0]

  def run(variables, encoder):
    apply = functools.partial(model.apply, variables)
    encode = functools.partial(apply, method="encode")
    return {
      "features": encode(x),
      "changed": encode(changed),
      "missing": encode(spoilt, valid=there),
      "alone": model.encoder.apply(encoder, x[:, valid], index=index),
      "exact": apply(x, hidden, keep=2, exact=True),
      "roomy": [apply(x, hidden, keep=keep) for keep in (2, 5, x.shape[-2])],
      "bounded": bounded.apply(variables, x, hidden, keep=x.shape[-2]),
    }

  return jax.device_get(jax.jit(run)(variables, encoder)), valid


def test_features_see_everything_and_mean_excludes_the_class_token(small):
  features, changed = small[0]["features"], small[0]["changed"]
  np.testing.assert_allclose(features["mean"], features["tokens"].mean(1), atol=1e-5)
  assert (changed["class"] != features["class"]).any(-1).all()


def test_hidden_content_nan_too_changes_neither_prediction_nor_gradient():
  model, variables, x, hidden = build()

  @jax.jit
  @functools.partial(jax.grad, argnums=(0, 1), has_aux=True)
  def grad(variables, x):
    prediction = model.apply(variables, x, hidden, keep=4)
    return jnp.sum(prediction**2), prediction

  spoiled = jnp.where(hidden[..., None], jnp.nan, x)
  clean, spoiled = jax.device_get((grad(variables, x), grad(variables, spoiled)))
  jax.tree.map(np.testing.assert_array_equal, clean, spoiled)
  (_, to_x), _ = clean
  np.testing.assert_array_equal((to_x != 0).any(-1), ~hidden)


def test_room_for_more_than_is_visible_equals_exact(small):
  for roomy in small[0]["roomy"]:
    close(roomy, small[0]["exact"], **SUMS)


@pytest.mark.parametrize("class_token", [True, False])
def test_everything_hidden_still_gives_finite_predictions(class_token):
  model, variables, x, hidden = build(class_token=class_token)
  everything = jnp.ones_like(hidden)
  prediction = apply(model, variables, x * jnp.nan, everything, keep=2)
  assert np.isfinite(prediction).all()
  close(prediction[0], prediction[1], **SUMS)


def test_prediction_and_features_are_float32_under_bfloat16():
  model, variables, x, hidden = build(dtype="bfloat16")
  assert shape_of(model, variables, x, hidden, keep=2).dtype == jnp.float32
  features = shape_of(model, variables, x, method="encode")
  assert {f.dtype.name for f in features.values()} == {"float32"}


def test_another_grid_resizes_the_tables_of_both_sides():
  model, variables, x, _ = build()
  larger = np.tile(x, (1, 2, 1))
  hidden = np.broadcast_to(np.arange(larger.shape[1]) % 2 == 0, larger.shape[:2])
  given = {"keep": 6, "grid": (3, 4)}
  assert shape_of(model, variables, larger, hidden, **given).shape == larger.shape
  features = shape_of(model, variables, larger, grid=(3, 4), method="encode")
  assert features["tokens"].shape == (3, 12, 32)


def test_initial_values_are_those_of_the_paper():
  model, _, x, hidden = build(width=64, heads=2, decoder_width=64)
  variables = jax.jit(functools.partial(model.init, keep=2))(jax.random.key(0), x, hidden)
  encoder = variables["params"]["encoder"]
  for name, kernel in (
    ("qkv", encoder["block_00"]["attention"]["qkv"]),
    ("embed", encoder["embed"]),
  ):
    limit = math.sqrt(6 / sum(kernel["kernel"].shape))
    assert 0.95 * limit < jnp.abs(kernel["kernel"]).max() <= limit, name
    assert not jnp.any(kernel["bias"])
  tokens = jnp.concatenate([encoder["class_token"], variables["params"]["decoder"]["mask_token"]])
  assert 0.015 < jnp.std(tokens) < 0.025


def test_size_can_be_overridden():
  model = masked_autoencoder(record_shape=(8, 8, 3), patch=(4, 4), size="Ti", width=96, depth=2)
  encoder = model.encoder
  assert (encoder.width, encoder.depth, encoder.mlp, encoder.heads) == (96, 2, 384, 3)
  assert all(size.mlp == 4 * size.width and not size.width % size.heads for size in SIZES.values())


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"size": "Tiny"}, "unknown size 'Tiny'; did you mean 'Ti'"),
    ({"record_shape": (8, 10, 3)}, r"size 10 of axis 1 in \(8, 10\) is not divisible by 4"),
    ({"patch": (4,)}, r"patch \(4,\) has 1 axes"),
    ({"heads": 5}, "width 32 is not divisible by 5 heads"),
    ({"decoder_width": 20, "decoder_heads": 3}, "decoder_width 20 is not divisible by 3 heads"),
  ],
)
def test_bad_input(changes, message):
  given = {"record_shape": (8, 8, 3), "patch": (4, 4), **SMALL, **changes}
  with pytest.raises(BadInput, match=message):
    masked_autoencoder(**given)


def test_features_of_patches_some_of_which_are_missing_are_those_of_the_others_alone(small):
  results, valid = small
  found, alone = results["missing"], results["alone"]
  close(found["tokens"][:, valid], alone[:, 1:], **SUMS)
  close(found["mean"], alone[:, 1:].mean(1), **SUMS)
  close(found["class"], alone[:, 0], **SUMS)


def test_bounds_hold_predictions(small):
  inside, free = small[0]["bounded"], small[0]["roomy"][-1]
  close(inside, 1 + 2 * np.tanh(free), **SUMS)
  assert inside.min() > -1
  assert inside.max() < 3
