"""A config's train step for devices that are not here, without its data."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.base import total
from maskjax.train.build import compute_dtype, make_optimizer, make_task, run_lengths
from maskjax.train.flops import model_flops
from maskjax.train.mesh import Mesh, make_mesh
from maskjax.train.state import State, start
from maskjax.train.step import make_step

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


def abstract_data(config: Config, note: Mapping[str, Any]) -> tuple[Record, dict[str, Any]]:
  """The record of a config's data and the shapes of one example, from "scale" in its NOTE.

  `config.data.size` goes before the scale's height and width.

  Raises:
    BadInput: a NOTE without scale, or one of data that are neither images nor text.

  >>> data = dict(train="train", size=(32, 32))
  >>> scale = dict(shape=(224, 224, 3), classes=10, examples=50_000)
  >>> record, example = abstract_data(dict(data=data), dict(scale=scale))
  >>> record.shape, record.classes, example["image"].shape
  ((32, 32, 3), 10, (1, 32, 32, 3))
  """
  scale = note.get("scale", {})
  if missing := [name for name in ("shape", "examples") if name not in scale]:
    raise BadInput(f"a plan needs scale=dict(shape, examples) in the NOTE: no {missing[0]}")
  shape, split = tuple(scale["shape"]), config["data"].get("train", "train")
  sizes, words = {split: scale["examples"]}, scale.get("vocabulary", 0)
  array = lambda dtype, *axes: jax.ShapeDtypeStruct((1, *axes), dtype)
  position = {"position": array(np.int32)}
  if words:
    record = Record("text", shape, sizes, vocabulary=tuple(map(str, range(words))))
    example = {"tokens": array(np.int32, *shape), "valid": array(np.bool_, *shape)}
    return record, {**example, **position}
  if len(shape) != 3:
    raise BadInput(f"a plan knows images and text, the NOTE's scale has examples of shape {shape}")
  shape = (*(config["data"].get("size") or shape[:2]), shape[2])
  names = tuple(map(str, range(scale.get("classes", 0))))
  ones = (1.0,) * shape[2]
  record = Record("image", shape, sizes, class_names=names, mean=ones, std=ones)
  labels = {"label": array(np.int32)} if names else {}
  return record, {"image": array(np.float32, *shape), **labels, **position}


def make(
  config: Config, note: Mapping[str, Any], devices: Sequence[Any], batch_size: int | None = None
) -> Step:
  """The train step of a config as a run builds it, on these devices.

  Raises:
    BadInput: whatever in the config cannot work.
  """
  config = {**config, "batch_size": batch_size or config["batch_size"]}
  batch_size, accumulate = config["batch_size"], config.get("accumulate", 1)
  section = dict(config.get("mesh") or {})
  if section.get("preset") == "pmap":  # It runs the same program on each device.
    section["preset"] = "data"
  mesh = make_mesh(section, devices)
  mesh.check(batch_size, accumulate)
  record, example = abstract_data(config, note)
  task = mesh.reading(make_task(config, record))
  lengths = {"batch_size": batch_size, "examples": next(iter(record.sizes.values()))}
  shapes = jax.eval_shape(task.init, jax.random.key(0), example)
  steps = run_lengths(config, record).total_steps
  tuning = make_optimizer(config, shapes["params"], steps, **lengths)
  ema = config.get("ema", 0.0)
  begin = partial(start, task, tuning.tx, ema=bool(ema))
  state = mesh.state(
    jax.eval_shape(lambda key, batch: begin(key, batch=batch), jax.random.key(0), example)
  )
  whole = lambda x: jax.ShapeDtypeStruct((batch_size, *x.shape[1:]), x.dtype, sharding=mesh.cut)
  batch = {name: whole(x) for name, x in example.items()}
  terms = lambda variables, batch, key: task.loss(variables, task.pair(batch, key, 0), key, 0)[0]
  loss = lambda *given: total(terms(*given), task.weights)
  return Step(
    batch_size=batch_size,
    unit=mesh.mesh.shape["data"] * mesh.mesh.shape["fsdp"] * accumulate,
    mesh=mesh,
    dtype=compute_dtype(config),
    state=state,
    batch=batch,
    flops=model_flops(loss, shapes, batch, jax.random.key(0)),
    run=mesh.compile(make_step(task, tuning.tx, accumulate=accumulate, ema=ema, held=tuning.held)),
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
