"""The Python door to a trained run: its features, its weights, its preprocessing."""

import logging
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from maskjax import bind
from maskjax.data import kinds, spectrograms
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.answers import answer
from maskjax.task.base import Variables, with_learned
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.checkpoints.leaves import Spec
from maskjax.train.mesh.mesh import Mesh, make_mesh
from maskjax.train.setup.build import make_task
from maskjax.train.workdirs import remote
from maskjax.train.workdirs.workdir import read_config, read_record
from maskjax.weights.reparametrize import STATE

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
  workdir: str | os.PathLike[str],
  *,
  step: int | None = None,
  trust: Sequence[str] = (),
  mesh: Mapping[str, Any] | None = None,
) -> Loaded:
  """The trained run in `workdir`, from its newest good checkpoint or that of `step`.

  Needs nothing but the workdir: the data set's record lies beside the checkpoints. Of these only
  the weights are read, from a bucket too, not what the optimiser keeps.

  Args:
    workdir: of the run; a folder, or a place such as `remote` takes.
    step: of a checkpoint.
    trust: packages beside maskjax whose functions the run's config may name: whoever wrote it
      chooses what of them is called.
    mesh: how weights lie on the devices of all processes, `{"preset": "fsdp"}`, as a config's
      section says. All processes call this together, and `apply` too, of the same batch: each reads
      what its devices hold, and gets the features whole. Without it a process that calls this reads
      all weights into its own memory, whatever the others do.

  Returns:
    `apply, variables, preprocess`, see `Loaded`. `apply(variables, preprocess(examples))` are
    features as jax arrays: of an encoder "tokens", `[n, positions, width]`, their "mean",
    `[n, width]`, and where it has a class token that, "class".

  Raises:
    BadInput: no run or no good checkpoint there, or one whose config names functions of a package
      that is not trusted; a mesh that cannot be.
    Restart: a store does not answer.
  """
  with remote.mirrored(workdir) as place, bind.trusting(trust):
    return _load(pathlib.Path(place), step, None if mesh is None else make_mesh(mesh))


def _load(path: pathlib.Path, step: int | None, mesh: Mesh | None) -> Loaded:
  config = read_config(path)
  if config is None:
    raise BadInput(f"{path} holds no run: there is no config.json")
  record = read_record(path)
  task = make_task(config, record)
  if (prepare := preprocess_of(config["data"], record)) is None:
    raise BadInput(f"the run in {path} was trained on {record.kind}, which load cannot preprocess")
  task, everywhere = (mesh.reading(task), mesh.everywhere) if mesh else (task, None)
  features = jax.jit(answer(task, "features", "load"), out_shardings=everywhere)
  return Loaded(features, task.final(stored(path, step=step, mesh=mesh)), prepare)


def preprocess_of(data: Mapping[str, Any], record: Record) -> Callable[..., Any] | None:
  """What turns raw examples into a batch, by the section `data` of a run; None where nothing does.

  Where images are spectrograms, raw examples are recordings.
  """
  if data.get("mel"):
    mel = {key: value for key, value in data["mel"].items() if value is not None}
    return partial(spectrograms.preprocess, record=record, length=data.get("length"), **mel)
  made = kinds.find(record.kind).preprocess
  return None if made is None else partial(made, record=record)


def stored(
  workdir: pathlib.Path, *, step: int | None = None, mesh: Mesh | None = None
) -> Variables:
  """The variables in a run's newest good checkpoint, with the EMA networks where they were kept.

  Nothing else is read. They lie whole in this process' memory, or on a mesh of all processes.

  Raises:
    BadInput: no good checkpoint there.
  """
  checkpoints, owns = Checkpoints(workdir), dict[str, str]()
  found: tuple[int, Mapping[str, Any]] | None

  def named(names: Iterable[str]) -> dict[str, str]:
    nonlocal owns
    owns = weights(names)
    return owns

  if mesh is None:
    found = checkpoints.read(step=step, only=lambda names: named(names).values())
  else:
    found = checkpoints.take(lambda specs: _laid(named(specs), specs, mesh), step=step)
  if found is None:
    raise BadInput(f"{workdir} holds no checkpoint")
  return unflatten_dict({name: found[1][own] for name, own in owns.items()}, sep="/")


def masked(workdir: pathlib.Path) -> Variables:
  """The `stored` variables of a run, learned masks applied: what they hide is zero.

  Raises:
    BadInput: no good checkpoint there, or masks without a run's config.
  """
  variables = stored(workdir)
  if STATE not in variables:
    return variables
  config = read_config(workdir)
  if config is None:
    raise BadInput(f"{workdir} holds no run: there is no config.json")
  return make_task(config, read_record(workdir)).final(variables)


def weights(names: Iterable[str]) -> dict[str, str]:
  """Variables by their names, each as the name of its array in a checkpoint that has those names.

  Networks of which a moving average was kept are that.

  >>> weights(["state/step", "state/variables/params/w", "state/ema/params/w"])
  {'params/w': 'state/ema/params/w'}
  """
  state = unflatten_dict({name: name for name in names}, sep="/")["state"]
  return flatten_dict(with_learned(state["variables"], state.get("ema", {})), sep="/")


def _laid(
  named: Mapping[str, str], specs: Mapping[str, Spec], mesh: Mesh
) -> dict[str, jax.ShapeDtypeStruct]:
  """Variables by their names in a checkpoint, with word where each lies on a mesh."""
  shapes = {n: jax.ShapeDtypeStruct(specs[own].shape, specs[own].dtype) for n, own in named.items()}
  # By the names that they have in a state.
  tree = mesh.state({"variables": unflatten_dict(shapes, sep="/")})["variables"]
  return {named[name]: leaf for name, leaf in flatten_dict(tree, sep="/").items()}
