"""Recordings, and mixtures of several with what they are made of."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from maskjax.data.batch import Batch
from maskjax.data.kinds.base import Kind, Scale, Shapes, array, label, labels

RATE = 8000


def _facts(scale: Scale) -> Mapping[str, Any]:
  return {"rate": scale.get("rate", RATE)}


def _audio_shapes(scale: Scale) -> Shapes:
  """Samples, and which of them are there."""
  length, channels = scale["shape"]
  samples = {"audio": array(np.float32, length, channels), "valid": array(np.bool_, length)}
  return samples | label(scale)


def _tiny_audio(scale: Scale, size: int, rng: np.random.Generator) -> Batch:
  """Noise; the last recording ends early."""
  length, channels = scale["shape"]
  ends = np.where(np.arange(size) < size - 1, length, length - length // 4)[:, None]
  valid = np.arange(length) < ends
  noise = rng.uniform(-1, 1, (size, length, channels)).astype(np.float32)
  made = {"audio": np.where(valid[..., None], noise, np.float32(0)), "valid": valid}
  return made | labels(scale, size, rng)


def _mixture_shapes(scale: Scale) -> Shapes:
  sources, length = scale["shape"]
  return {"mixture": array(np.float32, length), "sources": array(np.float32, sources, length)}


def _tiny_mixtures(scale: Scale, size: int, rng: np.random.Generator) -> Batch:
  sources = rng.uniform(-1, 1, (size, *scale["shape"])).astype(np.float32)
  return {"mixture": sources.sum(axis=1), "sources": sources}


audio = Kind(
  axes=("length", "channels"),
  shapes=_audio_shapes,
  tiny=_tiny_audio,
  facts=_facts,
)
mixture = Kind(
  axes=("sources", "length"),
  shapes=_mixture_shapes,
  tiny=_tiny_mixtures,
  facts=_facts,
  masks="maskjax.view.separation:masks_mixture",
)
