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

from maskjax import bind
from maskjax.data import kinds, spectrograms
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.answers import answer
from maskjax.task.base import Variables, with_learned
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.setup.build import make_task
from maskjax.train.workdirs import remote
from maskjax.train.workdirs.workdir import read_config, read_record

log = logging.getLogger("maskjax")


class Loaded(NamedTuple):
  """A trained run, ready to use.

  Attributes:
    apply: `(variables, batch) -> {pooling: features}`, with nothing hidden, deterministic.
    variables: the weights, those of the moving average where one was kept, with learned masks
      applied for good.
    preprocess: raw examples to the batch that `apply` takes, prepared as evaluation does: images of
      any size, uint8 `[h, w, c]` each, texts, or recordings where the run was on spectrograms; see
      `data.kinds` and `data.spectrograms`.
  """

  apply: Callable[[Variables, Mapping[str, Any]], Mapping[str, jax.Array]]
  variables: Variables
  preprocess: Callable[[Sequence[Any]], dict[str, np.ndarray]]


def load(
  workdir: str | os.PathLike[str], *, step: int | None = None, trust: Sequence[str] = ()
) -> Loaded:
  """The trained run in `workdir`, from its newest good checkpoint or that of `step`.

  Needs nothing but the workdir: the data set's record lies beside the checkpoints.

  Args:
    workdir: of the run; a folder, or a place such as `remote` takes.
    step: of a checkpoint.
    trust: packages beside maskjax whose functions the run's config may name: whoever wrote it
      chooses what of them is called.

  Returns:
    `apply, variables, preprocess`, see `Loaded`. `apply(variables, preprocess(examples))` are
    features as jax arrays: of an encoder "tokens", `[n, positions, width]`, their "mean",
    `[n, width]`, and where it has a class token that, "class".

  Raises:
    BadInput: no run or no good checkpoint there, or one whose config names functions of a package
      that is not trusted.
    Restart: a store does not answer.
  """
  with remote.mirrored(workdir) as place, bind.trusting(trust):
    return _load(pathlib.Path(place), step)


def _load(path: pathlib.Path, step: int | None) -> Loaded:
  config = read_config(path)
  if config is None:
    raise BadInput(f"{path} holds no run: there is no config.json")
  record = read_record(path)
  task = make_task(config, record)
  if (prepare := preprocess_of(config["data"], record)) is None:
    raise BadInput(f"the run in {path} was trained on {record.kind}, which load cannot preprocess")
  features = answer(task, "features", "load")
  variables = task.final(stored(path, step=step))
  return Loaded(jax.jit(features), variables, prepare)


def preprocess_of(data: Mapping[str, Any], record: Record) -> Callable[..., Any] | None:
  """What turns raw examples into a batch, by the section `data` of a run; None where nothing does.

  Where images are spectrograms, raw examples are recordings.
  """
  if data.get("mel"):
    mel = {key: value for key, value in data["mel"].items() if value is not None}
    return partial(spectrograms.preprocess, record=record, length=data.get("length"), **mel)
  made = kinds.find(record.kind).preprocess
  return None if made is None else partial(made, record=record)


def stored(workdir: pathlib.Path, *, step: int | None = None) -> Variables:
  """The variables in a run's newest good checkpoint, with the EMA networks where they were kept.

  Raises:
    BadInput: no good checkpoint there.
  """
  found = Checkpoints(workdir).read(step=step)
  if found is None:
    raise BadInput(f"{workdir} holds no checkpoint")
  arrays = unflatten_dict(found[1], sep="/")["state"]
  return with_learned(arrays["variables"], arrays.get("ema", {}))
