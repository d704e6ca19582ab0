"""MAE steps as `launch.py` runs them, of any size, for the rows that measure them."""

import pathlib
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from maskjax import lab
from maskjax.bench.harness import Size
from maskjax.train.run import plain
from maskjax.train.setup.build import Parts, make_parts

ENCODER = ("size", "scan", "width", "depth", "heads")
DECODER = ("width", "depth", "heads")
RATIO = 0.75


def parts(size: Size, **changes: Mapping[str, Any]) -> Parts:
  """What the config `mae` builds for a size: task, optimiser and compiled step.

  `size` holds `batch`, `image`, `patch`, `dtype` (float32 unless said) and numbers of the model.
  `changes` replace sections of the config.
  """
  config = plain(lab.read("mae"))
  config |= {"batch_size": size["batch"], "total_epochs": 0.0, "total_steps": 1000, **changes}
  encoder, decoder = config["model"]["encoder"], config["model"]["decoder"]
  encoder |= {name: size[name] for name in ENCODER if name in size}
  encoder["dtype"] = size.get("dtype", "float32")
  decoder |= {name: size[f"decoder_{name}"] for name in DECODER if f"decoder_{name}" in size}
  config["over"]["patch"] = (size["patch"],) * 2
  config["optimizer"] |= {"warmup_epochs": 0.0}
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "images.npz")
    np.savez(path, x_train=np.zeros(_shape(2, size), np.uint8))
    config["data"] = {"name": "npz", "path": str(path), "train": "train", "test": ""}
    return make_parts(config)


def batch(size: Size) -> dict[str, Any]:
  """Normalised images, with their positions in the batch."""
  images = jax.random.normal(jax.random.key(0), _shape(size["batch"], size))
  return {"image": images, "position": jnp.arange(size["batch"], dtype=jnp.int32)}


def stepping(built: Parts, size: Size) -> Callable[[], None]:
  """Makes one step after another, each from the state that the last one left."""
  state, data = built.begin(jax.random.key(0)), built.mesh.put(batch(size))

  def run() -> None:
    nonlocal state
    state, _ = jax.block_until_ready(built.step(state, data))

  return run


def calling(function: Callable[..., Any], *args: Any) -> Callable[[], None]:
  """Calls a compiled function and waits for what it gives."""

  def run() -> None:
    jax.block_until_ready(function(*args))

  return run


def seconds(run: Callable[[], None]) -> float:
  """How long one call takes."""
  began = time.perf_counter()
  run()
  return time.perf_counter() - began


def _shape(count: int, size: Size) -> tuple[int, ...]:
  return count, size["image"], size["image"], 3
