"""A config's train step for devices that are not here, without its data."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from maskjax.data import tiny
from maskjax.data.kinds import Shapes
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.train.mesh.mesh import Mesh, make_mesh
from maskjax.train.setup.build import build, compute_dtype
from maskjax.train.state import State

Config = Mapping[str, Any]


class Step(NamedTuple):
  """A train step, ready to be compiled.

  Attributes:
    batch_size: of the whole batch.
    unit: what a batch size must be a multiple of.
    mesh: the devices.
    dtype: of the computation.
    state: shapes, dtypes and shardings.
    batch: likewise.
    flops: model FLOPs of the step on all devices together.
    run: `jax.jit` of the step.
  """

  batch_size: int
  unit: int
  mesh: Mesh
  dtype: Any
  state: State
  batch: Mapping[str, jax.ShapeDtypeStruct]
  flops: float
  run: Any


class TooBig(Exception):  # noqa: N818
  """The compiler found that the step does not fit in a device's memory; says what it needs."""


def abstract_data(config: Config, note: Mapping[str, Any]) -> tuple[Record, Shapes]:
  """The record of a config's data and the shapes of one example, from "scale" in its NOTE.

  Axes that `config.data` names (`size`, `length`, `frames`) go before those of the scale.

  Raises:
    BadInput: a NOTE without scale, or one that does not fit its kind of data.

  >>> data = dict(train="train", size=(32, 32))
  >>> scale = dict(shape=(224, 224, 3), classes=10, examples=50_000)
  >>> record, example = abstract_data(dict(data=data), dict(scale=scale))
  >>> record.shape, record.classes, example["image"].shape
  ((32, 32, 3), 10, (1, 32, 32, 3))
  """
  if "scale" not in note:
    raise BadInput("a plan needs scale=dict(shape=…, examples=…) in the NOTE of the config")
  scale = tiny.fitted(note["scale"], config["data"])
  return tiny.record(scale, config["data"].get("train", "train")), tiny.shapes(scale)


def make(
  config: Config, note: Mapping[str, Any], devices: Sequence[Any], batch_size: int | None = None
) -> Step:
  """The train step of a config as a run builds it, on these devices.

  Raises:
    BadInput: whatever in the config cannot work.
  """
  config = {**config, "batch_size": batch_size or config["batch_size"]}
  section = dict(config.get("mesh") or {})
  if section.get("preset") == "pmap":  # It runs the same program on each device.
    section["preset"] = "data"
  mesh = make_mesh(section, devices)
  made = build(config, *abstract_data(config, note), mesh)
  cut = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=mesh.cut)
  return Step(
    batch_size=config["batch_size"],
    unit=mesh.parts * config.get("accumulate", 1),
    mesh=mesh,
    dtype=compute_dtype(config),
    state=made.state,
    batch=jax.tree.map(cut, dict(made.batch)),
    flops=made.flops,
    run=mesh.compile(made.step),
  )


def compile_step(step: Step) -> Any:
  """The compiled step.

  Raises:
    TooBig: it does not fit in a device's memory.
  """
  lowered = step.run.lower(step.state, step.batch)
  try:
    return lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    used = re.search(r"Used ([\d.]+[KMGT]) of ([\d.]+[KMGT])", str(error))
    text = f"{used[1]} of {used[2]}" if used else str(error).splitlines()[0]
    raise TooBig(text) from None
