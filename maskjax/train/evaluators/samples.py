"""Pictures of what a task makes from nothing, and of how it came to be."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from maskjax.errors import BadInput
from maskjax.keys import keys
from maskjax.recover import patchify, unpatchify
from maskjax.task.answers import answer, needs
from maskjax.view import grid as layout


@needs("sample", kinds=("image",))
def samples(
  context: Any, *, split: str = "test", examples: int = 16, columns: int = 4, stages: int = 4
) -> dict[str, float]:
  """Draws samples, `columns` a row, and the first of them while they were decoded.

  One for each of `examples` evenly spaced of `split`, by whose labels they are conditioned where
  the model is told any; the same keys at every step. Of a task that reveals tokens a second picture
  shows the samples of the first row at so many `stages` of decoding, hatched what was still hidden
  by then, painted as it came to be.

  Args:
    context: what the training loop hands over.
    split: whose labels samples are conditioned on.
    examples: how many are sampled.
    columns: samples a row of the picture.
    stages: of decoding that the second picture shows.

  Returns:
    No numbers.

  Raises:
    BadInput: a task that samples nothing, no example to draw, or more than devices can share.
  """
  if min(examples, columns, stages) < 1:
    raise BadInput(f"samples: {examples=}, {columns=} and {stages=} are at least 1")
  for name, picture in drawn(context, split, examples, columns, stages).items():
    context.picture(name, picture)
  return {}


def drawn(
  context: Any, split: str, examples: int, columns: int, stages: int
) -> dict[str, layout.Picture]:
  """The pictures of `samples` by name."""
  sample = answer(context.task, "sample", "samples")
  context.mesh.check(examples, 1)
  batch = dict(next(iter(context.examples(split, examples, examples))))
  valid = batch.pop("valid")
  batch["position"] = np.arange(examples, dtype=np.int32)
  given = keys(context.key, examples)
  placed = context.mesh.put_whole(batch)
  made = context.mesh.get(make(sample, context.variables, given, placed))
  record = context.record
  image = np.asarray(made["image"])[valid]
  scale = layout.magnification(*image.shape[1:3])
  show = lambda x: layout.denormalise(x, record.mean, record.std, scale=scale)
  tiles = show(image)
  rows = [list(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
  pictures = {"samples": layout.sheet(rows)}
  if "step" not in made:
    return pictures
  step, grid = np.asarray(made["step"])[valid], context.task.network.grid
  side = [size // g for size, g in zip(image.shape[1:3], grid, strict=True)]
  patches = np.asarray(patchify(jnp.asarray(image), side))
  shown = {}
  for last in _spread(int(step.max(initial=0)), stages):
    there = np.where((step <= last)[..., None], patches, np.nan)
    came = np.asarray(unpatchify(jnp.asarray(there), side, grid, image.shape[-1]))
    shown[f"step {last}"] = show(came)[:columns]
  pictures["decoding"] = layout.sheet(
    [list(row) for row in zip(*shown.values(), strict=True)], list(shown)
  )
  return pictures


# By the task's own function, so that all evaluations of a run share one compilation.
@partial(jax.jit, static_argnames="sample")
def make(
  sample: Callable[..., Mapping[str, Any]], variables: Any, keys: Any, batch: Mapping[str, Any]
) -> Mapping[str, Any]:
  """What a task samples, compiled once for batches of a size."""
  return sample(variables, keys, batch)


def _spread(last: int, count: int) -> list[int]:
  """`count` rising steps of `last`, which is the last of them; all, where there are no more."""
  return sorted({max(1, round((i + 1) * last / count)) for i in range(count)})
