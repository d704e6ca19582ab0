"""A frozen codec sees what it saw in its own training, whatever the run's mean and deviation."""

import dataclasses
import pathlib
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from user_package.configs import small

from maskjax.data.augment import normalise
from maskjax.record import Record
from maskjax.task.normalised import known_of, to_own, to_run, unknown_of
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.setup.build import make_task
from maskjax.train.setup.initial import given
from maskjax.train.workdirs.workdir import write_record

B, KEY = 2, jax.random.key(0)
RUN = Record("image", (8, 8, 3), {"train": B}, mean=(0.485, 0.456, 0.406), std=(0.229, 0.2, 0.3))
STAGE = dataclasses.replace(RUN, mean=(0.5, 0.1, 0.3), std=(0.5, 0.07, 0.3))
PIXELS = np.random.default_rng(0).integers(0, 256, (B, 8, 8, 3)).astype(np.uint8)
SEEN, OWN = (normalise(PIXELS, record.mean, record.std) for record in (RUN, STAGE))


def test_every_stored_value_comes_back_exactly():
  pixels = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None], (256, 3))
  for peak, stored in ((255.0, pixels), (65535.0, pixels.astype(np.uint16) * 257)):
    run, stage = (dataclasses.replace(record, peak=peak) for record in (RUN, STAGE))
    x, y = (normalise(stored, record.mean, record.std) for record in (run, stage))
    found = jax.jit(lambda x, own, run=run: to_own(x, run, own))(x, known_of(stage))
    np.testing.assert_array_equal(found, y)
    back = jax.jit(lambda y, own, run=run: to_run(y, run, own))(y, known_of(stage))
    np.testing.assert_allclose(back, x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("own", [known_of(RUN), unknown_of(RUN)])
def test_the_same_record_or_none_changes_no_bit(own):
  x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
  for fn in (to_own, to_run):
    np.testing.assert_array_equal(jax.jit(lambda x, fn=fn: fn(x, RUN, own))(x), x)


def test_what_is_no_pixel_is_moved_with_its_slope():
  x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
  move = lambda x: to_own(x, RUN, known_of(STAGE))
  mean, std = (np.array([getattr(r, k) for r in (RUN, STAGE)]) for k in ("mean", "std"))
  np.testing.assert_allclose(move(x), (x * std[0] + mean[0] - mean[1]) / std[1], atol=1e-5)
  for at in (x, SEEN[0, 0]):
    slope = jax.grad(lambda x: move(x).sum())(at)
    np.testing.assert_allclose(slope, np.broadcast_to(std[0] / std[1], slope.shape), rtol=1e-5)


def config():
  """An autoencoder of the latents of a frozen codec."""
  c = small()
  codec = dict(fn="model.autoencoder", latent=3, widths=(4, 4), depth=1, patch=(1, 1))
  c["model"]["codec"] = dict(**codec, middle=False, groups=2, frozen=True)
  c["let"] = dict(
    source=dict(fn="task.latents"),
    latents=dict(fn="codec.encode", of=dict(images="batch.image")),
    image=dict(fn="codec.decode", of=dict(latents="latents.mean")),
  )
  return c


def stage(folder, module, params):
  """The workdir of the codec's own training."""
  with Checkpoints(folder) as checkpoints:
    checkpoints.save(1, {"state": {"variables": {"params": {"codec": params}}}, "position": 0})
  write_record(folder, STAGE)


def test_a_codec_of_a_stage_takes_and_gives_images_of_its_own(tmp_path):
  batch = {"image": jnp.asarray(SEEN), "position": jnp.arange(B)}
  task = make_task(config(), RUN)
  graph = task.loss.__self__
  module = graph.parts.modules["codec"]
  first = jax.jit(task.init)(KEY, batch)
  stage(tmp_path, module, jax.tree.map(lambda x: x + 0.01, first["frozen"]["codec"]))
  parts = SimpleNamespace(config={}, task=task, data=SimpleNamespace(record=RUN))
  variables = given(pathlib.Path(tmp_path), first, parts)

  @jax.jit
  def run(variables, own):
    took = []

    def look(call, args, told, context):
      if context.module.name is None and context.method_name == "encode":
        took.append(told.get("images", args[0] if args else None))
      return call(*args, **told)

    with nn.intercept_methods(look):
      wanted = ("values", "latents.mean", "image")
      _, latents, image = graph.run(variables, batch, KEY, 0)[0].take(*wanted)
    params = {"params": variables["frozen"]["codec"]}
    mean = module.apply(params, own, method="encode").mean
    return took, latents, image, mean, module.apply(params, mean, method="decode")

  took, latents, image, mean, painted = run(variables, OWN)
  assert len(took) == 2
  for images in took:
    np.testing.assert_array_equal(images, OWN)
  np.testing.assert_allclose(latents, mean, rtol=1e-5, atol=1e-6)
  pixels = lambda x, record: np.asarray(x) * record.std + record.mean
  np.testing.assert_allclose(pixels(image, RUN), pixels(painted, STAGE), rtol=1e-4, atol=1e-5)
  assert np.abs(pixels(image, RUN) - pixels(painted, RUN)).max() > 0.1
  # Of weights alone nothing is known: they see what the run sees.
  same = run({**variables, "normalisation": first["normalisation"]}, SEEN)
  np.testing.assert_array_equal(same[0][0], SEEN)
