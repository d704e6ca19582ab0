"""Pictures of explanations: what each part of an image counts, and what was left of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from maskjax.record import Record
from maskjax.view import grid as layout
from maskjax.view import heat, spectrogram
from maskjax.view.legend import bar, under_legend


def explanations(
  image: Float[np.ndarray, "b h w c"],
  maps: Mapping[str, Float[np.ndarray, "b h w"]],
  record: Record,
) -> layout.Picture:
  """Images, and beside each what its pixels count by each of several ways.

  Of every map 0 and less have the lightest colour and its largest value the darkest.
  """
  scale = layout.magnification(*image.shape[1:3])
  columns = {"input": spectrogram.shown(image, record, scale=scale)}
  for name, values in maps.items():
    most = np.maximum(values.max(axis=(1, 2), keepdims=True), 1e-12)
    tinted = heat.tints(spectrogram.turned(values / most, record))
    columns[name] = layout.magnify(tinted, scale)
  return under_legend(layout.grid(columns, scale=1), [["nothing", bar(), "most"]])


def left_over(
  image: Float[np.ndarray, "b h w c"], seen: Mapping[str, Any], record: Record
) -> layout.Picture:
  """Images and what ways of hiding leave of them; hatched where nothing stands in its place."""
  scale = layout.magnification(*image.shape[1:3])
  show = lambda x: spectrogram.shown(np.asarray(x, np.float32), record, scale=scale)
  return layout.grid({"input": show(image), **{k: show(x) for k, x in seen.items()}}, scale=1)
