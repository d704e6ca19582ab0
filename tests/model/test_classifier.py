"""The vision transformer as a classifier: sizes, pooling, hidden patches, an MAE's encoder."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from maskjax.errors import BadInput
from maskjax.model.classifier import vit_classifier
from maskjax.model.masked_autoencoder import masked_autoencoder
from maskjax.recover import patchify, unpatchify

TINY = {"patch": (2, 4), "width": 16, "depth": 1, "heads": 2}


def build(shape=(4, 12, 3), b=3, **changes):
  network = vit_classifier(record_shape=shape, classes=5, **{**TINY, **changes})
  rng = np.random.default_rng(0)
  image = jnp.asarray(rng.normal(size=(b, *shape)), jnp.float32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), image)
  draw = lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) / 4, jnp.float32)
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
  decoder = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), theirs["params"]["decoder"])
  full = {**variables, "params": {**variables["params"], "decoder": decoder}}
  features = apply(mae, full, patches, method="encode")
  jax.tree.map(
    np.testing.assert_array_equal, features, apply(network, variables, image, method="encode")
  )


@pytest.mark.parametrize("pool", ["mean", "class"])
def test_logits_are_a_linear_map_of_the_pooled_tokens(pool):
  network, variables, image = build(pool=pool)
  features = apply(network, variables, image, method="encode")
  head = variables["params"]["head"]
  expected = features[pool] @ head["kernel"] + head["bias"]
  np.testing.assert_allclose(apply(network, variables, image), expected, atol=1e-5)
  assert features["tokens"].shape == (3, 6, 16)


@pytest.mark.parametrize("options", [{}, {"pool": "class"}, {"class_token": False}])
def test_hidden_patches_reach_neither_logits_nor_gradients(options):
  network, variables, image = build(**options)
  hidden = jnp.asarray([[True, False, True, False, False, True], [False] * 6, [True] * 6])
  patches = patchify(image, (2, 4))
  whole = functools.partial(unpatchify, patch=(2, 4), grid=network.grid, channels=3)

  @jax.jit
  @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
  def value(params, patches):
    full = {**variables, "params": params}
    logits = network.apply(full, whole(patches), hidden)
    return jnp.sum(logits**2), logits

  clean = value(variables["params"], patches)
  spoilt = value(variables["params"], jnp.where(hidden[..., None], jnp.nan, patches))
  jax.tree.map(np.testing.assert_array_equal, clean, spoilt)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(clean))
  (_, logits), (_, to_patches) = clean
  np.testing.assert_array_equal(jnp.any(to_patches != 0, axis=-1), ~hidden)
  plain = apply(network, variables, image)
  np.testing.assert_allclose(logits[1], plain[1], atol=1e-5)
  assert jnp.abs(logits[0] - plain[0]).max() > 1e-3


def test_hidden_patches_are_as_if_they_were_not_there():
  network, variables, image = build()
  hidden = jnp.asarray([[True, False, True, False, False, True]] * 3)
  visible = jnp.asarray([[1, 3, 4]] * 3)
  seen = jnp.take_along_axis(patchify(image, (2, 4)), visible[..., None], axis=1)
  inner = {name: value["encoder"] for name, value in variables.items()}
  short = apply(network.encoder, inner, seen, index=visible)
  features = apply(network, variables, image, hidden, method="encode")
  np.testing.assert_allclose(features["class"], short[:, 0], atol=1e-5)
  np.testing.assert_allclose(features["mean"], short[:, 1:].mean(1), atol=1e-5)


def test_larger_images_resize_the_positions_and_training_is_evaluation():
  network, variables, image = build()
  large = jnp.concatenate([image, image], axis=1)
  assert apply(network, variables, large).shape == (3, 5)
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
