"""Pictures of several modalities of an image side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maskjax.record import Record
from maskjax.view import grid as layout

SEEN, PREDICTION = "model sees", "prediction"


def rows(
  views: Mapping[str, Mapping[str, Any]], names: Sequence[str], record: Record
) -> layout.Picture:
  """One row an example; of each modality the input, what is seen of it, and the prediction.

  Of each modality "input", "prediction" and "hidden" as `task.row_views` gives them. The
  image goes through the record's mean and deviation; values of one channel are grey between the
  least and the most of the inputs, labels have their "colors", or else levels of grey.
  """
  titles: list[str] = []
  columns: list[np.ndarray] = []
  for name in (n for n in names if n in views):
    view = {key: np.asarray(x) for key, x in views[name].items()}
    given, guessed = painted(view, record if name == "image" else None)
    scale = layout.magnification(*given.shape[1:3])
    large = lambda x, scale=scale: layout.magnify(x, scale)
    columns += [large(given), layout.hatch(large(given), large(view["hidden"])), large(guessed)]
    titles += [name, SEEN, PREDICTION]
  return layout.sheet(list(zip(*columns, strict=True)), titles)


def painted(view: Mapping[str, np.ndarray], record: Record | None) -> tuple[np.ndarray, np.ndarray]:
  """Input and prediction of a modality as pixels."""
  given, guessed = view["input"], view["prediction"]
  if np.issubdtype(given.dtype, np.integer):
    count = guessed.shape[-1]
    grey = np.repeat(np.linspace(0, 1, count)[:, None], 3, axis=1)
    colours = view.get("colors", grey)
    colours = colours if colours.shape[-1] >= 3 else np.repeat(colours[:, :1], 3, axis=1)
    return layout.pixels(colours[given][..., :3]), layout.pixels(
      colours[guessed.argmax(-1)][..., :3]
    )
  if record is not None:
    show = lambda x: layout.denormalise(x, record.mean, record.std)
    return show(given), show(guessed)
  low, high = float(given.min()), float(given.max())
  show = lambda x: layout.pixels(np.repeat((x[..., :1] - low) / max(high - low, 1e-6), 3, axis=-1))
  return show(given), show(guessed)
