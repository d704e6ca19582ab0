"""Audio-MAE at its scale: the parameters that the public code counts when it fine-tunes."""

import math

import jax
import jax.numpy as jnp

from maskjax.model import vit_classifier


def test_the_encoder_with_a_head_of_audioset_has_the_parameters_of_the_log():
  shape = (1024, 128, 1)
  model = vit_classifier(record_shape=shape, classes=527, patch=(16, 16), size="B")
  assert model.grid == (64, 8)
  image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
  shapes = jax.eval_shape(model.init, jax.random.key(0), image)
  leaves = jax.tree.leaves(shapes["params"])
  assert sum(math.prod(leaf.shape) for leaf in leaves) == 85_659_407
