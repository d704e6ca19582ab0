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
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.base import Variables
from maskjax.train.build import make_task
from maskjax.train.checkpoint import Checkpoints
from maskjax.train.workdir import read_config, read_record

log = logging.getLogger("maskjax")


class Loaded(NamedTuple):
  """A trained run, ready to use.

  Attributes:
    apply: `(variables, batch) -> {pooling: features}`, with nothing hidden, deterministic.
    variables: the weights, those of the moving average where one was kept.
    preprocess: images of any size, uint8 `[h, w, c]` each, to the batch that `apply` takes.
  """

  apply: Callable[[Variables, Mapping[str, Any]], Mapping[str, jax.Array]]
  variables: Variables
  preprocess: Callable[[Sequence[np.ndarray]], dict[str, np.ndarray]]


def load(workdir: str | os.PathLike[str], *, step: int | None = None) -> Loaded:
  """The trained run in `workdir`, from its newest good checkpoint or that of `step`.

  Needs nothing but the workdir: the data set's record lies beside the checkpoints.

  Raises:
    BadInput: no run or no good checkpoint there.
  """
  path = pathlib.Path(workdir)
  config = read_config(path)
  if config is None:
    raise BadInput(f"{path} holds no run: there is no config.json")
  record = read_record(path)
  task = make_task(config, record)
  if task.features is None:
    raise BadInput(f"the task {config['task']['fn']} has no features")
  return Loaded(jax.jit(task.features), stored(path, step=step), partial(preprocess, record=record))


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


def preprocess(images: Sequence[np.ndarray], *, record: Record) -> dict[str, np.ndarray]:
  """Resizes, crops at the centre and normalises images as evaluation does."""
  size = record.shape[0], record.shape[1]
  fitted = np.stack([augment.fit(np.asarray(image), size) for image in images])
  return {"image": augment.normalise(fitted, record.mean, record.std)}
