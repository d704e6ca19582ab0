"""Pictures of clips: some frames of each, one below the other, as if they were images."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from maskjax.record import Record
from maskjax.view import grid as layout
from maskjax.view.masks import masks

SHOWN = 4  # frames of a clip that are drawn


def stills(views: Mapping[str, Any], frames: int = SHOWN) -> dict[str, np.ndarray]:
  """Views of images from views of clips: evenly spaced frames of each clip, as examples.

  Those of `[b, t, h, w]` and `[b, t, h, w, c]` are kept, the others left out.

  >>> stills({"input": np.zeros((2, 8, 6, 6, 1)), "target": np.zeros((2, 10))})["input"].shape
  (8, 6, 6, 1)
  """
  found = {name: np.asarray(view) for name, view in views.items() if np.ndim(view) in (4, 5)}
  step = {name: -(-view.shape[1] // frames) for name, view in found.items()}
  return {name: view[:, :: step[name]].reshape(-1, *view.shape[2:]) for name, view in found.items()}


def masks_video(views: Mapping[str, Any], record: Record) -> layout.Picture:
  """Shows some frames of clips, what is hidden of them, and what the model sees; see `masks`."""
  return masks(stills(views), record)
