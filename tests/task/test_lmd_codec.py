"""The autoencoder that LMD trains first: its terms, its draws, its views."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np

from maskjax import keys, lab
from maskjax.keys import stream
from maskjax.record import Record
from maskjax.task.base import total
from maskjax.train.run import plain
from maskjax.train.setup.build import make_task

RECORD = Record("image", (4, 4, 1), {"train": 8})
SIZES = dict(latent=2, widths=(4,), depth=1, patch=(2, 2), middle=False, groups=2)
KEY, HERE = jax.random.key(0), pathlib.Path(__file__).parent
CONFIG = lab.load(HERE.parents[1] / "configs" / "diffusion_mask" / "lmd.py")
filled = runpy.run_path(str(HERE / "toy_weights.py"))["filled"]


@functools.cache
def found():
  """Terms of a batch at two steps and in another order, posteriors, and views by two keys."""
  c = CONFIG.get_config()
  c.batch_size = 8
  c.model.codec.update(SIZES, dtype="float32")
  c = CONFIG.codec(c)
  c.losses.divergence.scale = 0.5
  task = make_task(plain(c), RECORD)
  image = np.random.default_rng(0).normal(size=(8, 4, 4, 1)).astype(np.float32)
  batch = jax.device_put({"image": image, "position": np.arange(8)})

  def posterior(variables, batch):
    run, _ = task.loss.__self__.run(variables, batch, None, 0)
    return run.take("posterior")

  @jax.jit
  def run(variables, batch):
    loss = lambda x: task.loss(variables, x[0], KEY, x[1])[0]
    turned = {"image": batch["image"][::-1], "position": batch["position"][::-1]}
    # Each image by itself, then the first of them at every position.
    rows = jax.tree.map(lambda *x: jnp.stack(x), batch, batch, turned)
    first = {**batch, "image": jnp.broadcast_to(batch["image"][:1], image.shape)}
    alone = jax.tree.map(lambda *x: jnp.concatenate(x)[:, None], batch, first)
    terms = jax.lax.map(loss, (rows, jnp.array([0, 1, 0])))
    others = jnp.stack([KEY, jax.random.key(1)])
    return {
      "terms": terms,
      "total": total(jax.tree.map(lambda x: x[0], terms), task.weights),
      "alone": jax.lax.map(lambda row: loss((row, 0)), alone),
      "divergence": posterior(variables, batch).divergence(),
      "latents": task.loss.__self__.run(variables, batch, KEY, 2)[0].take("latents"),
      "drawn": posterior(variables, batch).sample(
        keys(stream(KEY, "latent", 2), batch["position"])
      ),
      "views": jax.lax.map(lambda key: task.answers["views"](variables, batch, key), others),
    }

  return image, jax.tree.map(np.asarray, run(filled(jax.eval_shape(task.init, KEY, batch)), batch))


def test_terms_are_all_pixels_and_the_divergence_of_every_latent():
  _, got = found()
  terms = jax.tree.map(lambda x: x[0], got["terms"])
  assert (int(terms["recover"].count), int(terms["divergence"].count)) == (8 * 16, 8 * 2 * 2 * 2)
  np.testing.assert_allclose(terms["divergence"].sum, got["divergence"].sum(), rtol=1e-4)
  both = {name: term.sum / term.count for name, term in terms.items()}
  expected = both["recover"] + 0.5 * both["divergence"]
  np.testing.assert_allclose(got["total"], expected, rtol=1e-5)


def test_latents_are_drawn_by_the_stream_that_they_always_had():
  _, got = found()
  np.testing.assert_array_equal(got["latents"], got["drawn"])


def test_each_example_has_its_own_draw_whatever_batch_it_is_in():
  _, got = found()
  whole, other, turned = got["terms"]["recover"].sum
  alone, first = got["alone"]["recover"].sum.reshape(2, 8)
  np.testing.assert_allclose(whole, alone.sum(), rtol=1e-5)
  assert len(np.unique(first)) == 8
  np.testing.assert_allclose(whole, turned, rtol=1e-5)
  assert whole != other


def test_the_prediction_is_that_of_the_means():
  image, got = found()
  np.testing.assert_array_equal(got["views"]["input"][0], image)
  assert got["views"]["prediction"].shape[1:] == image.shape
  np.testing.assert_array_equal(*got["views"]["prediction"])
