"""A kind of data of a package beside maskjax: clouds of points, in .npy files."""

import numpy as np

from maskjax.data.kinds import Kind, Ready, array
from maskjax.record import Record


def drawn(scale, size, rng):
  """Clouds of these shapes."""
  return {"points": rng.random((size, *scale["shape"])).astype(np.float32)}


def centred(points):
  """Points about the middle of their cloud."""
  return points - points.mean(axis=1, keepdims=True)


cloud = Kind(
  axes=("points", "coordinates"),
  shapes=lambda scale: {"points": array(np.float32, *scale["shape"])},
  tiny=drawn,
  ready=lambda record, source: Ready(
    record, finish=lambda batch: {**batch, "points": centred(batch["points"])}
  ),
  preprocess=lambda clouds, record: {"points": centred(np.stack(clouds))},
)


def read(path):
  """The clouds of a file, each `(points, coordinates)`."""
  clouds = np.load(path)
  record = Record("elsewhere.clouds:cloud", clouds.shape[1:], {"train": len(clouds)})
  return record, {"train": [{"points": cloud} for cloud in clouds]}
