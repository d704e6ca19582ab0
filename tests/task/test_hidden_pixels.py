"""Classifiers of images with pixels hidden: in training by any hider, in prediction by a mask."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import hide, recover, score, select
from maskjax.errors import BadInput
from maskjax.model import resnet, vit_classifier
from maskjax.record import Record
from maskjax.task import classify

RECORD = Record("image", (8, 12, 2), {"train": 8}, tuple("abcde"))
BATCH = jax.device_put({
  "image": np.random.default_rng(1).normal(size=(4, 8, 12, 2)).astype(np.float32),
  "label": np.arange(4),
  "position": np.arange(4),
})  # fmt: skip


def task(model, hider=None, **options):
  words = dict(
    score=functools.partial(score.white), select=functools.partial(select.top, ratio=0.5)
  )
  words = {**words, "hide": functools.partial(hider, **options)} if hider else {}
  return classify(record=RECORD, model=model, recover=recover.cross_entropy, **words)


SMALL = functools.partial(resnet, depth=8, width=2, carry="neighbours")


@pytest.mark.parametrize("hider", [hide.blur, hide.average, hide.neighbours])
def test_hiders_see_the_grid(hider):
  made = task(SMALL, hider, **({"sigma": 1.0} if hider is hide.blur else {}))
  variables = jax.eval_shape(made.init, jax.random.key(0), BATCH)
  views = jax.eval_shape(made.answers["views"], variables, BATCH, jax.random.key(0))
  assert views["seen"].shape == BATCH["image"].shape


def test_a_mask_beside_the_pixels_is_refused_in_training():
  made = task(SMALL, hide.carry)
  variables = jax.eval_shape(made.init, jax.random.key(0), BATCH)
  with pytest.raises(BadInput, match="not by a mask beside them"):
    jax.eval_shape(made.loss, variables, BATCH, jax.random.key(0), 0)


def test_predictions_are_of_what_is_left_to_see():
  model = functools.partial(vit_classifier, patch=(4, 4), size="mu", width=8, depth=1, heads=2)
  made = task(model)
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(made.init, jax.random.key(0), BATCH)
  variables = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes)

  @jax.jit
  def run(variables, image):
    hidden = jnp.zeros((4, 6), bool).at[:, 2].set(True)
    other = image.at[:, :4, 8:].set(jnp.nan)
    answer = lambda image: made.answers["predict"](variables, {"image": image}, hidden)
    whole = made.answers["predict"](variables, {"image": image}, None)
    return jax.lax.map(answer, jnp.stack([image, other])), whole

  (left, again), whole = map(np.asarray, run(variables, BATCH["image"]))
  np.testing.assert_array_equal(left, again)
  assert np.abs(left - whole).max() > 1e-3
