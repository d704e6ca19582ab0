"""Where a run begins: its own checkpoint, another run's, given weights or scratch, in order."""

import dataclasses
import logging
import pathlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from maskjax.data import pipeline
from maskjax.errors import BadInput, unknown
from maskjax.model import published, published_autoencoder
from maskjax.task.base import FROZEN, Batch, Task, Variables
from maskjax.task.prepare import PREPARED, Examples
from maskjax.train.checkpoints import export
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.checkpoints.leaves import Spec
from maskjax.train.checkpoints.load import weights
from maskjax.train.checkpoints.renamed import renamed
from maskjax.train.setup.build import Parts
from maskjax.train.setup.normalisation import normalisation
from maskjax.train.setup.origins import check_same, strange
from maskjax.train.setup.stages import origin
from maskjax.train.state import State, with_held
from maskjax.train.workdirs import remote

log = logging.getLogger("maskjax")


def snapshot(state: State, position: int) -> dict[str, Any]:
  """What a checkpoint holds: the state, and how many examples of the data's order were used."""
  return {"state": state, "position": np.int64(position)}


def first_state(
  parts: Parts, checkpoints: Checkpoints, seed: int, workdir: pathlib.Path
) -> tuple[State, int]:
  """The state and data position that a run in `workdir` goes on from.

  Raises:
    BadInput: no checkpoint is good, or what `resume` or `init_from` name does not fit.
  """
  shapes = snapshot(parts.state, 0)
  found = checkpoints.restore(shapes)
  place = "the workdir"
  if found is None and (other := parts.config.get("resume")):
    with remote.mirrored(other) as theirs:
      check_same(parts, pathlib.Path(theirs))
      found, place = Checkpoints(theirs).restore(shapes), other
    if found is None:
      raise BadInput(f"config.resume={other!r} has no checkpoint")
  if found is not None:
    step, tree = found
    log.info("continuing from step %d of %s", step, place)
    return tree["state"], int(tree["position"])
  state = parts.begin(jax.random.key(seed))
  begun = state
  with remote.mirrored(parts.config.get("init_from") or "") as named:
    if source := origin({**parts.config, "init_from": named, "seed": seed}, workdir):
      state = with_variables(parts.task, state, given(source, state.variables, parts))
  if parts.task.prepare is not None:
    variables = parts.mesh.place(state.variables, parts.state.variables)
    state = with_variables(parts.task, state, parts.task.prepare(variables, examples(parts, seed)))
  if state is not begun:
    variables = parts.mesh.place(state.variables, parts.state.variables)
    opt_state = parts.init_opt_state(variables)
    variables = jax.jit(with_held)(variables, opt_state)
    state = with_variables(parts.task, state, variables)._replace(opt_state=opt_state)
  return parts.mesh.place(state, parts.state), 0


def examples(parts: Parts, seed: int) -> Examples:
  """What a run's statistics look at: its training examples, and by changes of `data` others.

  Other data are read by the vocabulary of the run's.
  """
  config, record = parts.config, parts.data.record
  loader = {"batch_size": config["batch_size"], "seed": seed, **config.get("loader", {})}
  section = {k: v for k, v in config["data"].items() if v is not None}
  # Whole on every device, each of which does the same: the result does not depend on how many.
  lie = lambda data: map(parts.mesh.put_everywhere, pipeline.batches(data, **loader))

  def other(changes: Mapping[str, Any]) -> Iterator[Batch]:
    names = tuple(changes.get("classes", record.class_names))
    known = dataclasses.replace(record, class_names=names)
    return lie(pipeline.load(**{**section, **changes, "known": known}))

  return Examples(lie(parts.data), other)


def with_variables(task: Task, state: State, variables: Variables) -> State:
  """The state with other variables, its moving average begun from them."""
  average = state.ema
  if jax.tree.leaves(average):
    average = jax.tree.map(jnp.copy, task.learned(variables))
  return state._replace(variables=variables, ema=average)


def given(source: pathlib.Path, variables: Variables, parts: Parts) -> Variables:
  """Variables with what `source` has for them: a run's workdir, its export, or published weights.

  Those whose names match `config.init_except`, say "params/head/", begin as if nothing was given.
  What is frozen here was trained there: of a source that froze nothing, its parameters become that.

  What has a place for each class begins anew where the classes are others. What is prepared stays:
  it is measured anew.

  Raises:
    BadInput: nothing there fits, an array has another shape or meaning, published weights lack some
      of the encoder's, or no name is excepted.
  """
  own = {name: tree for name, tree in variables.items() if name != PREPARED}
  return {**variables, **_given(source, own, parts)}


def _given(source: pathlib.Path, variables: Variables, parts: Parts) -> Variables:
  """See `given`, of what is not prepared."""
  ours = flatten_dict(variables, sep="/")
  new = excepted(parts.config, variables, parts.task)
  foreign = source.suffix == ".safetensors" and not export.is_ours(source)
  if foreign and FROZEN in variables:
    log.info("%s has no record: data.mean and data.std are taken to be those of its data", source)
    return {**variables, FROZEN: _published(source, variables[FROZEN])}
  if foreign or source.suffix in published.PICKLES:  # the latter only to be refused with a cure
    network = parts.task.network
    encoder = getattr(network, "encoder", network)
    patch, grid = (getattr(encoder, name, ()) for name in ("patch", "grid"))
    variables, report = published.load(source, variables, patch=patch, grid=grid)
    for line in str(report).splitlines():
      log.log(logging.DEBUG if line.startswith("mapped ") else logging.INFO, "%s", line)
    _check_missing(source, [name for name in report.missing if name not in new], parts.config)
    loaded = flatten_dict(variables, sep="/")
    return unflatten_dict({**loaded, **{name: ours[name] for name in new}}, sep="/")
  if source.is_file():
    theirs = renamed(flatten_dict(export.read(source), sep="/"), ours)
    shapes = {name: array.shape for name, array in theirs.items()}
    fits = {name: theirs[name] for name in _fitting(source, shapes, ours, new, parts)}
    unused = len(theirs) - len(fits)
  else:
    fits, unused = _taken(source, ours, new, parts)
  fits |= normalisation(source, ours, fits, parts.data.record)
  told = "%s: %d mapped, %d missing, %d unused"
  log.info(told, source, len(fits), len(ours) - len(fits), unused)
  return unflatten_dict({**ours, **fits}, sep="/")


def _fitting(
  source: pathlib.Path,
  shapes: Mapping[str, Sequence[int]],
  ours: Mapping[str, Any],
  new: Collection[str],
  parts: Parts,
) -> list[str]:
  """Which of the variables at `source`, by their shapes, have a place in ours but those anew."""
  fits = [name for name in ours if name in shapes and name not in new]
  if source.is_dir() and (other := strange(parts, source, fits)):
    told = "%s was trained on other classes: %d variables begin anew, such as %s"
    log.warning(told, source, len(other), min(other))
    fits = [name for name in fits if name not in other]
  for name in fits:
    if shapes[name] != ours[name].shape:
      raise BadInput(f"{source}: {name} has shape {shapes[name]}, the model's {ours[name].shape}")
  if not fits:
    raise BadInput(f"{source}: nothing in it has a place in the model")
  return fits


def _taken(
  source: pathlib.Path, ours: Mapping[str, Any], new: Collection[str], parts: Parts
) -> tuple[dict[str, Any], int]:
  """What a run's checkpoint has for our variables, and how many others it holds.

  Nothing else is read of it; of several processes each reads what its devices hold of ours.
  """
  owns: dict[str, str] = {}  # the names that arrays have there, by ours
  unused = 0

  def choose(specs: Mapping[str, Spec]) -> dict[str, Any]:
    nonlocal owns, unused
    theirs = renamed(weights(specs), ours)
    shapes = {name: specs[own].shape for name, own in theirs.items()}
    owns = {name: theirs[name] for name in _fitting(source, shapes, ours, new, parts)}
    unused = len(theirs) - len(owns)
    return {own: ours[name] for name, own in owns.items()}

  if (found := Checkpoints(source).take(choose)) is None:
    raise BadInput(f"{source} holds no checkpoint")
  return {name: found[1][own] for name, own in owns.items()}, unused


def _check_missing(source: pathlib.Path, missing: Sequence[str], config: Mapping[str, Any]) -> None:
  """Refuses weights that leave a part of the encoder random, unless `init_missing` allows it."""
  allowed = config.get("init_missing", "")
  if allowed not in ("", "allow"):
    raise unknown("init_missing", allowed, ["", "allow"])
  lost = [name for name in missing if name.startswith("params/encoder/")]
  if lost and not allowed:
    raise BadInput(
      f"{source} has not all of the encoder: {len(lost)} variables are missing, such as {lost[0]}; "
      "init_missing='allow' begins these anew"
    )


def _published(source: pathlib.Path, frozen: Mapping[str, Any]) -> dict[str, Any]:
  """What is frozen, a published autoencoder in its place."""
  name, *others = frozen
  if others:
    raise BadInput(f"{source} is one network, {', '.join(sorted(frozen))} are frozen here")
  return {name: published_autoencoder.load(source, frozen[name])}


def excepted(config: Mapping[str, Any], variables: Variables, task: Task) -> set[str]:
  """The names of variables that match `config.init_except`; what belongs to weights as they do.

  Raises:
    BadInput: it is no regular expression, or matches none.
  """
  if not (pattern := config.get("init_except")):
    return set()
  names, kinds = list(flatten_dict(dict(variables), sep="/")), list(task.learned(variables))
  of = lambda name: re.sub(f"^({'|'.join(kinds)})/", "params/", name)
  try:
    found = {name for name in names if re.search(pattern, name) or re.search(pattern, of(name))}
  except re.error as error:
    raise BadInput(f"init_except={pattern!r} is no regular expression: {error}") from error
  if not found:
    raise unknown("variables for init_except", pattern, names)
  return found
