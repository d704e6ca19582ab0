"""The Python door to a trained run: its features, its weights, its preprocessing."""

import logging
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import unflatten_dict

from maskjax.data import augment
from maskjax.data.tokens import encode
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.answers import answer
from maskjax.task.base import Variables
from maskjax.train import remote
from maskjax.train.build import make_task
from maskjax.train.checkpoint import Checkpoints
from maskjax.train.workdir import read_config, read_record

log = logging.getLogger("maskjax")


class Loaded(NamedTuple):
  """A trained run, ready to use.

  Attributes:
    apply: `(variables, batch) -> {pooling: features}`, with nothing hidden, deterministic.
    variables: the weights, those of the moving average where one was kept, with learned masks
      applied for good.
    preprocess: raw examples to the batch that `apply` takes: images of any size, uint8 `[h, w, c]`
      each, or texts.
  """

  apply: Callable[[Variables, Mapping[str, Any]], Mapping[str, jax.Array]]
  variables: Variables
  preprocess: Callable[[Sequence[Any]], dict[str, np.ndarray]]


def load(workdir: str | os.PathLike[str], *, step: int | None = None) -> Loaded:
  """The trained run in `workdir`, from its newest good checkpoint or that of `step`.

  Needs nothing but the workdir: the data set's record lies beside the checkpoints.

  Raises:
    BadInput: no run or no good checkpoint there.
  """
  with remote.mirrored(workdir) as place:
    return _load(pathlib.Path(place), step)


def _load(path: pathlib.Path, step: int | None) -> Loaded:
  config = read_config(path)
  if config is None:
    raise BadInput(f"{path} holds no run: there is no config.json")
  record = read_record(path)
  task = make_task(config, record)
  if record.kind not in ("image", "text"):
    raise BadInput(
      f"load prepares images and texts, the run in {path} was trained on {record.kind}"
    )
  features = answer(task, "features", "load")
  variables = task.final(stored(path, step=step))
  return Loaded(jax.jit(features), variables, partial(preprocess, record=record))


def stored(workdir: pathlib.Path, *, step: int | None = None) -> Variables:
  """The variables in a run's newest good checkpoint, with the moving average where one was kept.

  Raises:
    BadInput: no good checkpoint there.
  """
  found = Checkpoints(workdir).read(step=step)
  if found is None:
    raise BadInput(f"{workdir} holds no checkpoint")
  arrays = unflatten_dict(found[1], sep="/")["state"]
  variables = arrays["variables"]
  return {**variables, "params": arrays["average"]} if "average" in arrays else variables


def preprocess(examples: Sequence[Any], *, record: Record) -> dict[str, np.ndarray]:
  """The batch of raw examples, prepared as evaluation does.

  Images are resized, cropped at the centre and normalised; texts are encoded and padded.

  Raises:
    BadInput: a text longer than the windows of the run, or with a character that it does not know.
  """
  if record.kind == "text":
    return _texts(examples, record)
  size = record.shape[0], record.shape[1]
  fitted = np.stack([augment.fit(np.asarray(image), size) for image in examples])
  return {"image": augment.normalise(fitted, record.mean, record.std)}


def _texts(texts: Sequence[str], record: Record) -> dict[str, np.ndarray]:
  rows, length = [encode(text, record) for text in texts], record.shape[0]
  if (longest := max(map(len, rows), default=0)) > length:
    raise BadInput(f"a text of {longest} tokens does not fit the run's windows of {length}")
  valid = np.arange(length) < np.array([[len(row)] for row in rows])
  tokens = np.stack([np.pad(row, (0, length - len(row))) for row in rows])
  return {"tokens": tokens.astype(np.int32), "valid": valid}
