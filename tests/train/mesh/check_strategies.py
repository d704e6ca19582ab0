"""Trains small systems on 8 simulated devices by every preset; test_strategies.py starts it."""

import os
import re
import time
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

# What the tests compile with, and eight devices.
os.environ["XLA_FLAGS"] = (
  f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8 "
  "--xla_cpu_collective_call_terminate_timeout_seconds=600"
)

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from maskjax import lab, recover, reduce, select, weights
from maskjax.keys import keys, stream
from maskjax.model.masked_decoder import Decoded
from maskjax.model.resnet import ResNet, ResNetClassifier
from maskjax.record import Record
from maskjax.task.base import Aux, Task
from maskjax.task.buckets import bucket_of
from maskjax.train.checkpoints.leaves import named
from maskjax.train.mesh.mesh import bytes_per_device, make_mesh
from maskjax.train.run import plain
from maskjax.train.setup.build import make_task
from maskjax.train.state import State, start
from maskjax.train.step import make_step

BATCH, STEPS, EMA = 16, 2, 0.5
MESHES = {
  "pmap": {"preset": "pmap"},
  "data": {"preset": "data"},
  "fsdp": {"preset": "fsdp", "shape": {"data": 2, "fsdp": 4}, "least": 64},
  "fsdp_tensor": {"preset": "fsdp_tensor", "least": 64},
}
# Sums in another order differ by the rounding of f32. SGD passes that on as it is; a method whose
# steps are ratios, as Adam's, would blow it up where a gradient is nearly zero.
# Of a leaf's largest, some fifty products deep; a token more or less is a fiftieth of a gradient.
ROUNDING, NOTHING = 1e-4, 2e-6
IMAGES = Record("image", (8, 8, 1), {"train": 64}, class_names=tuple("abcd"))
TEXT = Record("text", (8,), {"train": 64}, vocabulary=tuple("abcdefgh"), unit="characters")


def images():
  """Pictures of which some do not count, not as many on each device."""
  rng = np.random.default_rng(0)
  return {
    "image": rng.normal(size=(BATCH, 8, 8, 1)).astype(np.float32),
    "label": rng.integers(0, 4, BATCH).astype(np.int32),
    "valid": np.arange(BATCH) % 5 != 1,
    "position": np.arange(BATCH, dtype=np.int32),
  }


def texts():
  """Windows of uneven length."""
  rng = np.random.default_rng(0)
  return {
    "tokens": rng.integers(0, 8, (BATCH, 8)).astype(np.int32),
    "valid": np.arange(8) < rng.integers(3, 9, (BATCH, 1)),
    "position": np.arange(BATCH, dtype=np.int32),
  }


class Foreseeing(nn.Module):
  """The least network that predicts losses; test_mesh.py trains a real one."""

  coupled = False

  @nn.compact
  def __call__(self, patches, hidden):
    """What is hidden from what is seen, and what that will cost."""
    seen = jnp.where(hidden[..., None], 0, patches).reshape(len(patches), -1)
    x = nn.gelu(nn.Dense(32)(seen))
    return Decoded(nn.Dense(seen.shape[-1])(x).reshape(patches.shape), nn.Dense(16)(x))


def foreseeing():
  """The network of `Foreseeing`."""
  return Foreseeing()


def resnet(*, record_shape, classes, norm):
  """A residual network of one block."""
  shape = dict(width=8, bottleneck=False, project=False, small=True)
  return ResNetClassifier(ResNet((1,), **shape, norm=norm), classes, tuple(record_shape[:2]))


def task_of(record, name, **sections):
  """The task of a config, with other sections, for data of this record."""
  config = plain(lab.base(name).get_config())
  config |= {
    "batch_size": BATCH,
    "total_epochs": 0.0,
    "total_steps": 10,
    "data": {"train": "train"},
  }
  return make_task({**config, **sections}, record)


def hpm():
  """Masked images whose masks come from an average of the parameters, which predicts losses."""
  told = dict(fn="network.__call__", of=dict(patches="values"))
  half = dict(fn="select.top", ratio=0.375)
  return task_of(
    IMAGES,
    "image_mim/mae",
    over=dict(fn="over.patches", patch=(2, 2)),
    model=dict(fn="__main__:foreseeing"),
    hide=(),
    target=dict(fn="recover.pixels", normalise=False),
    score=dict(fn="score.hard_first", select=half),
    let=dict(
      told=told,
      prediction="told.prediction",
      predicted="told.loss",
      loss="whole.predicted",
      reward=dict(fn="task.reward", loss=dict(fn="recover.squared_error")),
    ),
    branches=dict(whole=dict(network="teacher.network", hidden="nothing")),
    teachers=dict(teacher=dict(fn="task.ema", momentum=0.5)),
    losses=dict(
      recover=dict(fn="recover.squared_error"),
      teach=dict(fn="recover.pairwise_ranking", of=dict(asked="hidden")),
    ),
  )


def md4():
  """Masked diffusion of text."""
  model = dict(fn="model.text_transformer", width=16, depth=1, heads=2)
  return task_of(TEXT, "masked_generative/md4", model=model)


def fmix():
  """Images that hide behind each other, on each device behind those of all, some not to count."""
  return task_of(IMAGES, "mix_augmentation/fmix", model=dict(fn="__main__:resnet", norm="group"))


def contrast():
  """Two noisy views of a picture find each other, and the others' mean reward is a baseline."""
  network = nn.Sequential([nn.Dense(32), nn.gelu, nn.Dense(16)])

  def init(key, batch):
    return network.init(key, batch["image"].reshape(len(batch["image"]), -1))

  def loss(variables, batch, key, step):
    flat = batch["image"].reshape(len(batch["image"]), -1)
    noise = jax.vmap(lambda key: jax.random.normal(key, (2, flat.shape[-1])))
    drawn = noise(keys(stream(key, "views", step), batch["position"]))
    a, b = (network.apply(variables, flat + drawn[:, i]) for i in range(2))
    same = batch["label"][:, None] == reduce.combine(gather, batch["label"])
    pairs = recover.info_nce(a, b, valid=batch["valid"], positives=same)
    chosen = recover.policy_gradient(a.mean(-1), b.mean(-1), batch["valid"], baseline="mean")
    return {"pairs": pairs, "chosen": chosen}, Aux()

  return Task(init=init, loss=loss, coupled=True)


gather = partial(jax.lax.all_gather, tiled=True)


class System(NamedTuple):
  """What is trained, in how many microbatches, by which presets; `held` as `make_step` takes it."""

  task: Task
  batch: dict
  tx: Any
  accumulate: int = 1
  presets: tuple[str, ...] = ()
  held: Callable = lambda average, params, moments: average


def systems():
  """One for each way in which devices could differ: every kind of loss, of state and of batch."""
  sgd, gentle = (optax.sgd(rate, momentum=0.9) for rate in (0.5, 0.05))
  pruned = weights.hold(sgd, select=partial(select.top, ratio=0.5), scope="global")
  numbers = partial(weights.uniform_numbers, low=-0.1, high=0.3)
  view = dict(threshold=0.1, learns=True, cost=0.1, per_feature=True)
  thresholds = weights.reparametrized(contrast(), weights.thresholded_scores(start=numbers, **view))
  classified = task_of(IMAGES, "base/supervised", model=dict(fn="__main__:resnet", norm="batch"))
  return {
    "hpm": System(hpm(), images(), sgd, presets=("pmap", "fsdp_tensor")),
    "md4": System(md4(), texts(), sgd, accumulate=2, presets=("pmap", "data")),
    "fmix": System(fmix(), images(), gentle, accumulate=2, presets=("pmap", "data")),
    "resnet": System(classified, images(), gentle, presets=("pmap", "fsdp_tensor")),
    "pruning": System(contrast(), images(), pruned, presets=("pmap", "fsdp"), held=weights.settle),
    "thresholds": System(thresholds, images(), gentle, presets=("pmap", "fsdp")),
  }


class Trained(NamedTuple):
  """Where a few steps led: the state as it lies, metrics, the compiled step and its batch."""

  state: State
  rows: list
  step: Callable
  batch: dict


def begin(system):
  """The state of a system before its first step.

  Parameters are drawn here, for programs that draw them are dear; by their names, so that what
  follows them begins as they do.
  """
  key, one = jax.random.key(0), jax.tree.map(lambda x: x[:1], system.batch)

  def draw(path, x):
    *_, last = names = [str(part.key) for part in path[1:]]
    rng = np.random.default_rng(zlib.crc32("/".join(names).encode()))
    centre = 1 if last in ("scale", "var") else 0
    drawn = rng.normal(size=x.shape) / np.sqrt(np.prod(x.shape[:-1])) if x.ndim > 1 else 0
    return np.broadcast_to(centre + drawn, x.shape).astype(x.dtype)

  shapes = jax.eval_shape(system.task.init, key, one)
  variables = jax.tree_util.tree_map_with_path(draw, shapes)
  task = system.task._replace(init=lambda key, batch: jax.tree.map(jnp.asarray, variables))
  return jax.jit(lambda key, batch: start(task, system.tx, key, batch, ema=True))(key, one)


def copied(x):
  """The same values in memory of their own, keys too."""
  if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
    return jax.random.wrap_key_data(np.array(jax.random.key_data(x)))
  return np.array(x)


def train(section, system, begun, devices=None, accumulate=1):
  """A few steps of a system on a mesh."""
  mesh = make_mesh(section, devices)
  mesh.check(BATCH, accumulate)
  # A copy, for a step takes the memory of its state.
  state = mesh.place(jax.tree.map(copied, begun))
  traced = []

  def counted(state, batch):
    traced.append(0)
    return step(state, batch)

  task, words = mesh.reading(system.task), dict(ema=EMA, held=system.held)
  step = make_step(task, system.tx, accumulate=accumulate, **words)
  compiled, batch, rows = mesh.compile(counted), mesh.put(system.batch), []
  for _ in range(STEPS):
    before, lies = state, jax.tree.map(lambda x: x.sharding, state)
    state, metrics = compiled(state, batch)
    rows.append(jax.device_get(metrics))
    # Memory is given away, never copied, and what comes out lies as what went in.
    assert all(x.is_deleted() for x in jax.tree.leaves(before)), section
    for x, sharding in zip(jax.tree.leaves(state), jax.tree.leaves(lies), strict=True):
      assert x.sharding.is_equivalent_to(sharding, x.ndim), section
  assert len(traced) == 1, f"{section} traces the step {len(traced)} times"
  return Trained(state, rows, compiled, batch)


def check_equal(name, got, one):
  """The same losses, norms, parameters, moments, masks and averages as on one device."""
  assert jax.random.key_data(got.state.key).tolist() == jax.random.key_data(one.state.key).tolist()
  for a, b in ((got.rows, one.rows), (got.state._replace(key=0), one.state._replace(key=0))):
    ours, theirs = named(jax.device_get(a)), named(jax.device_get(b))
    assert set(ours) == set(theirs), name
    for leaf, value in ours.items():
      message = f"{name}: {leaf}"
      if leaf.endswith("bits"):
        np.testing.assert_array_equal(value, theirs[leaf], err_msg=message)
      room = ROUNDING * np.abs(theirs[leaf]).max(initial=0) + NOTHING
      np.testing.assert_allclose(value, theirs[leaf], 0, room, err_msg=message)


def check_cut(preset, trained):
  """The state really is cut, and the step moves nothing but parameters and sums."""
  mesh = make_mesh(MESHES[preset])
  whole = sum(x.nbytes for x in jax.tree.leaves(jax.device_get(trained.state._replace(key=()))))
  assert bytes_per_device(trained.state._replace(key=())) < whole / 3
  params = trained.state.variables["params"]
  cut = [x for x in jax.tree.leaves(params) if not x.sharding.is_fully_replicated]
  assert all(x.size < 64 for x in jax.tree.leaves(params) if x.sharding.is_fully_replicated)
  assert preset in mesh.describe(trained.state)
  text = trained.step.lower(trained.state, trained.batch).compile().as_text()
  gathered = re.findall(r"= (\S+) all-gather\(", text)
  if preset == "fsdp":
    assert 0 < len(gathered) <= len(cut), f"{len(gathered)} gathers of {len(cut)} cut leaves"
    shapes = {",".join(map(str, x.shape)) for x in cut}
    assert {re.search(r"\[([\d,]*)\]", one)[1] for one in gathered} <= shapes
    for moved in ("all-to-all(", "collective-permute("):
      assert moved not in text, moved


def check_buckets():
  """Devices whose examples need different buckets take the largest of them together."""
  gone = np.arange(8)[None] >= np.arange(8)[:, None, None]  # device i sees i of its 8 positions

  def taken(gone):
    with reduce.across("devices"):
      return bucket_of((2, 4, 6), gone)

  assert jax.pmap(taken, "devices")(gone[[0, 1, 2, 0, 4, 1, 3, 2]]).tolist() == [1] * 8


def main():
  """Exits with an error where a preset differs from one device."""
  check_buckets()
  for name, system in systems().items():
    begun = begin(system)
    one = train({}, system, begun, jax.devices()[:1])
    for preset in system.presets:
      got = train(MESHES[preset], system, begun, accumulate=system.accumulate)
      check_equal(f"{name} by {preset}", got, one)
    for preset in ("fsdp", "fsdp_tensor") if name == "md4" else ():
      whole = train(MESHES[preset], system, begun)
      check_equal(f"{name} by {preset}, whole", whole, one)
      check_cut(preset, whole)
    print(f"{name} after {time.process_time():.0f} s of CPU", flush=True)


if __name__ == "__main__":
  main()
