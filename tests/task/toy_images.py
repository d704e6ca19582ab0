"""The task of a tiny masked autoencoder of images, which two files of tests build."""

import functools
import pathlib
import runpy

import jax
import numpy as np

from maskjax import recover, score, select
from maskjax.model.masked_autoencoder import masked_autoencoder
from maskjax.record import Record
from maskjax.task import reconstruct

KEY = jax.random.key(0)
begun = runpy.run_path(str(pathlib.Path(__file__).with_name("toy_weights.py")))["begun"]
TINY = {
  "patch": (2, 2),
  "width": 16,
  "depth": 1,
  "heads": 2,
  "decoder_width": 8,
  "decoder_depth": 1,
}


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
  image = np.random.default_rng(1).normal(size=(4, *shape)).astype(np.float32)
  batch = jax.device_put({"image": image, "position": np.arange(4)})
  return task, batch, begun(jax.eval_shape(task.init, KEY, batch))
