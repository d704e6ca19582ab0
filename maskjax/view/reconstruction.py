"""The evaluator that shows what a model makes of what it was not shown."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
import scipy
from jaxtyping import Float

from maskjax import bind
from maskjax.data import kinds
from maskjax.errors import BadInput, unknown
from maskjax.record import Record
from maskjax.task.answers import answer, needs
from maskjax.view import grid as layout
from maskjax.view import heat, spectrogram
from maskjax.view.legend import bar, under_legend
from maskjax.view.video import stills

TITLES = {
  "input": "input",
  "seen": "model sees",
  "prediction": "prediction",
  "pasted": "seen + predicted",
}
# Without channels: in [0, 1], and a number a patch, of which the order within an image is shown.
MAPS = {"chance": "chance to be seen"}
RANKS = {"predicted_loss": "predicted loss", "loss": "loss where hidden"}


@needs("views", kinds=("image", "video", "table"))
def reconstruction(
  context: Any, *, split: str = "test", examples: int = 8, batch_size: int = 256
) -> dict[str, float]:
  """Draws input, what the model sees, prediction and both pasted, of evenly spaced examples.

  The task's `views` say what is drawn, all in the space of its normalised input: a task that learns
  other targets (normalised patches, codes) brings its prediction back there itself. Images go
  through the record's mean and deviation, rows of a table and maps without channels through one
  scale of colours from 0 to 1, nothing is stretched to fit, and spectrograms lie on their side
  (`view.spectrogram`). Of losses, predicted or true, the order within an image is drawn. A clip is
  shown by some of its frames. What moves over a run (a ratio) is as at the step of the weights.
  What predictions take from the truth (`Task.told`) is written above them.

  Args:
    context: offers `examples`, `task`, `variables`, `key`, `step`, `mesh`, `record` and `picture`
      (the loop's).
    split: whose examples to draw.
    examples: how many; all of a smaller split.
    batch_size: of reading the split.

  Returns:
    No numbers.

  Raises:
    BadInput: when the task has no views, the split is unknown, or `examples` is no positive int.
  """
  show = answer(context.task, "views", "reconstruction")
  if split not in context.record.sizes:
    raise unknown("split", split, context.record.sizes)
  if examples < 1:
    raise BadInput(f"reconstruction.examples must be at least 1, got {examples}")
  wanted = spaced(context.record.sizes[split], examples)
  batch = pick(context.examples(split, batch_size), wanted)
  # NaN says "hidden" here, also where a run looks for NaNs.
  with jax.debug_nans(False):
    shown = partial(bind.call, show, {"step": context.step})
    views = context.mesh.get(jax.jit(shown)(context.variables, batch, context.key))
  picture = draw(views, context.record)
  if told := context.task.told:
    picture = under_legend(picture, [[f"predictions are given {told}, which flatters them"]])
  context.picture("reconstruction", picture)
  return {}


def draw(views: Mapping[str, Any], record: Record) -> layout.Picture:
  """Draws the views of a task as the kind of its data says.

  Raises:
    BadInput: a kind of which there are no such pictures.
  """
  return kinds.linked(record, "reconstruction")(views, record)


def rows(views: Mapping[str, Any], record: Record) -> layout.Picture:
  """Rows of tables, one titled table a view."""
  return heat.rows(views, {name: TITLES.get(name, name) for name in _shown(views, rank=3)})


def clips(views: Mapping[str, Any], record: Record) -> layout.Picture:
  """Some frames of clips, as images."""
  return images(stills(views), record)


def images(views: Mapping[str, Any], record: Record) -> layout.Picture:
  """Images, one titled column a view."""
  columns, names = {}, _shown(views, rank=4)
  for name in names:
    pixels = np.asarray(views[name])
    scale = layout.magnification(*pixels.shape[1:3])
    columns[TITLES.get(name, name)] = spectrogram.shown(pixels, record, scale=scale)
  size = columns[TITLES.get(names[0], names[0])].shape[1:3]
  for name in MAPS.keys() & views.keys():
    tinted = heat.tints(np.asarray(views[name]))
    columns[MAPS[name]] = layout.magnify(tinted, layout.magnification(*tinted.shape[1:3]))
  maps = {title: ordered(np.asarray(views[n]), size) for n, title in RANKS.items() if n in views}
  first = TITLES["input"]
  columns = {first: columns.pop(first), **maps, **columns} if maps else columns
  picture = layout.grid(columns, scale=1)
  return under_legend(picture, [["least", bar(), "most"]]) if maps else picture


def _shown(views: Mapping[str, Any], *, rank: int) -> list[str]:
  """Names of the views of this rank, the known ones first: under `jit` a dict forgets its order."""
  drawn = [name for name in views if np.ndim(views[name]) == rank]
  return [name for name in TITLES if name in drawn] + [n for n in drawn if n not in TITLES]


def ordered(maps: Float[np.ndarray, "b h w"], size: tuple[int, int]) -> np.ndarray:
  """Maps as pictures of about this size: the rank of each number in its map, NaN hatched."""
  there = np.isfinite(maps)
  ranks = scipy.stats.rankdata(np.where(there, maps, np.inf).reshape(len(maps), -1), axis=-1)
  most = np.maximum(there.reshape(len(maps), -1).sum(axis=-1, keepdims=True) - 1, 1)
  levels = ((ranks - 1) / most).reshape(maps.shape)
  scale = max(1, min(size[0] // maps.shape[1], size[1] // maps.shape[2]))
  pixels = layout.magnify(heat.tints(levels), scale)
  return layout.hatch(pixels, layout.magnify(~there, scale))


def spaced(size: int, count: int) -> list[int]:
  """`count` evenly spaced indices into `size` examples, the first one 0; all, if there are no more.

  >>> spaced(10, 4), spaced(3, 8)
  ([0, 2, 5, 7], [0, 1, 2])
  """
  count = min(size, count)
  return [i * size // count for i in range(count)]


def pick(batches: Iterable[Mapping[str, Any]], wanted: list[int]) -> dict[str, np.ndarray]:
  """The `wanted` valid examples (rising indices) of one pass, as one batch with its `position`."""
  rows: list[dict[str, Any]] = []
  start = 0
  for batch in batches:
    given = np.asarray(batch["valid"])
    # Padding follows the last example; one before it of which nothing is there is an example.
    some = np.flatnonzero(given.reshape(len(given), -1).any(axis=1))
    valid = np.arange(some[-1] + 1 if len(some) else 0)
    # One for each position belongs to the example, one for each example to the pass.
    names = [name for name in batch if name != "valid" or given.ndim > 1]
    stop = start + len(valid)
    here = [valid[i - start] for i in wanted if start <= i < stop]
    rows += [{name: np.asarray(batch[name])[i] for name in names} for i in here]
    start = stop
    if start > wanted[-1]:
      break
  if len(rows) != len(wanted):
    raise RuntimeError(f"the split ended after {start} examples, example {wanted[-1]} was expected")
  picked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
  return {**picked, "position": np.arange(len(rows), dtype=np.int32)}
