"""The vision transformer as a classifier: sizes, pooling, hidden patches, an MAE's encoder."""

import functools
import math
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from toy_mae import masked_autoencoder

from maskjax.errors import BadInput
from maskjax.model.classifier import vit_classifier
from maskjax.recover import patchify, unpatchify

close = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "closeness.py"))["close"]
TINY = {"patch": (2, 4), "width": 16, "depth": 1, "heads": 2}

# A block of six products, and what embeds and classifies.
SUMS = dict(depth=6 + 2, terms=64)


def build(shape=(4, 12, 3), b=3, **changes):
  network = vit_classifier(record_shape=shape, classes=5, **{**TINY, **changes})
  rng = np.random.default_rng(0)
  image = jnp.asarray(rng.normal(size=(b, *shape)), jnp.float32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), image)
  draw = lambda leaf: (rng.normal(size=leaf.shape) / 4).astype(np.float32)
  return network, jax.tree.map(draw, shapes), image


def apply(network, *inputs, **options):
  return jax.jit(functools.partial(network.apply, **options))(*inputs)


# torchvision's and DeiT's counts without their learned tables of positions, which are fixed here.
@pytest.mark.parametrize(
  ("size", "count"),
  [("Ti", 5_717_416 - 197 * 192), ("S", 22_050_664 - 197 * 384), ("B", 86_567_656 - 197 * 768)],
)
def test_published_parameter_counts(size, count):
  network = vit_classifier(record_shape=(224, 224, 3), classes=1000, patch=(16, 16), size=size)
  image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), image)
  assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"])) == count


@pytest.mark.parametrize("class_token", [True, False])
def test_the_encoder_is_an_autoencoders(class_token):
  network, variables, image = build(class_token=class_token)
  mae = masked_autoencoder(
    record_shape=image.shape[1:],
    class_token=class_token,
    decoder_width=8,
    decoder_depth=1,
    decoder_heads=2,
    **TINY,
  )
  patches = patchify(image, (2, 4))
  hidden = jnp.zeros(patches.shape[:2], bool)
  init = functools.partial(mae.init, keep=6, exact=True)
  theirs = jax.eval_shape(init, jax.random.key(0), patches, hidden)
  shapes = {path: leaf.shape for path, leaf in flatten_dict(theirs).items() if path[1] == "encoder"}
  ours = {path: leaf.shape for path, leaf in flatten_dict(variables).items() if path[1] != "head"}
  assert ours == shapes
  decoder = jax.tree.map(lambda leaf: np.zeros(leaf.shape), theirs["params"]["decoder"])
  full = {**variables, "params": {**variables["params"], "decoder": decoder}}
  features = apply(mae, full, patches, method="encode")
  jax.tree.map(
    np.testing.assert_array_equal, features, apply(network, variables, image, method="encode")
  )


@pytest.mark.parametrize("pool", ["mean", "class"])
def test_logits_are_a_linear_map_of_the_pooled_tokens(pool):
  network, variables, image = build(pool=pool)
  encode = functools.partial(network.apply, method="encode")
  both = jax.jit(lambda v, image: (encode(v, image), network.apply(v, image)))
  features, logits = jax.device_get(both(variables, image))
  head = variables["params"]["head"]
  close(logits, features[pool] @ head["kernel"] + head["bias"], depth=1, terms=16)
  assert features["tokens"].shape == (3, 6, 16)


@pytest.mark.parametrize("options", [{}, {"pool": "class"}, {"class_token": False}])
def test_hidden_patches_reach_neither_logits_nor_gradients(options):
  network, variables, image = build(**options)
  hidden = jnp.asarray([[True, False, True, False, False, True], [False] * 6, [True] * 6])
  patches = patchify(image, (2, 4))
  whole = functools.partial(unpatchify, patch=(2, 4), grid=network.grid, channels=3)

  @jax.jit
  def run(params, patches):
    def value(params, patches):
      logits = network.apply({**variables, "params": params}, whole(patches), hidden)
      return jnp.sum(logits**2), logits

    slopes = jax.value_and_grad(value, argnums=(0, 1), has_aux=True)(params, patches)
    return slopes, network.apply({**variables, "params": params}, image)

  spoilt = jnp.where(hidden[..., None], jnp.nan, patches)
  clean, plain = jax.device_get(run(variables["params"], patches))
  jax.tree.map(np.testing.assert_array_equal, clean, run(variables["params"], spoilt)[0])
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(clean))
  (_, logits), (_, to_patches) = clean
  np.testing.assert_array_equal((to_patches != 0).any(-1), ~hidden)
  close(logits[1], plain[1], **SUMS)
  assert np.abs(logits[0] - plain[0]).max() > 1e-3


def test_hidden_patches_are_as_if_they_were_not_there():
  network, variables, image = build()
  hidden = jnp.asarray([[True, False, True, False, False, True]] * 3)
  visible = np.array([[1, 3, 4]] * 3)
  inner = {name: value["encoder"] for name, value in variables.items()}

  @jax.jit
  def both(variables, inner):
    seen = patchify(image, (2, 4))[:, visible[0]]
    short = network.encoder.apply(inner, seen, index=visible)
    return short, network.apply(variables, image, hidden, method="encode")

  short, features = jax.device_get(both(variables, inner))
  close(features["class"], short[:, 0], **SUMS)
  close(features["mean"], short[:, 1:].mean(1), **SUMS)


def test_larger_images_resize_the_positions_and_training_is_evaluation():
  network, variables, image = build()
  large = np.concatenate([image, image], axis=1)
  assert jax.eval_shape(network.apply, variables, large).shape == (3, 5)
  np.testing.assert_array_equal(
    apply(network, variables, image), apply(network, variables, image, train=True)
  )


@pytest.mark.parametrize(
  ("options", "says"),
  [
    ({"pool": "max"}, "unknown pool 'max'"),
    ({"pool": "class", "class_token": False}, "^pool='class' needs class_token=True$"),
    ({"heads": 3}, "width 16 is not divisible by 3 heads"),
    ({"size": "Tiny"}, "unknown size 'Tiny'"),
    ({"patch": (3, 4)}, "size 4 of axis 0"),
  ],
)
def test_bad_input(options, says):
  with pytest.raises(BadInput, match=says):
    build(**options)
