"""Trains small systems on 8 simulated devices by every preset; test_strategies.py starts it."""

import os
import re
import time
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

from maskjax import bind, hide, recover, reduce, schedule, score, select, weights
from maskjax.keys import keys, stream
from maskjax.model import masked_autoencoder, text_transformer
from maskjax.model.resnet import ResNet, ResNetClassifier
from maskjax.record import Record
from maskjax.task import classify, diffuse, reconstruct
from maskjax.task.base import Aux, Task
from maskjax.task.teacher import ema
from maskjax.train.leaves import named
from maskjax.train.mesh import bytes_per_device, make_mesh
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
TOLERANCE = {"rtol": 2e-5, "atol": 2e-6}
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


def mae(model_words=(), **words):
  """Masked images; with several `keep` a batch needs its largest."""
  model = partial(
    masked_autoencoder, patch=(2, 2), width=16, depth=1, heads=2, decoder_width=16,
    decoder_depth=1, decoder_heads=2, **dict(model_words),
  )  # fmt: skip
  given = dict(select=partial(select.top, ratio=0.75), score=partial(score.white))
  target = partial(recover.pixels, normalise=False)
  given |= dict(target=target, recover=partial(recover.squared_error), **words)
  return reconstruct(record=IMAGES, model=model, **given)


def hpm():
  """Masked images whose masks come from an average of the parameters, which foresees losses."""
  hard = partial(score.hard_first, select=partial(select.top, ratio=0.375))
  teach = dict(teach=partial(recover.pairwise_ranking), teacher=partial(ema, momentum=0.5))
  return mae(score=hard, model_words=dict(loss_depth=1), **teach)


def md4():
  """Masked diffusion of text."""
  model = partial(text_transformer, width=16, depth=1, heads=2)
  words = dict(score=partial(score.white), select=partial(select.top))
  curve = partial(schedule.linear)
  return diffuse(record=TEXT, batch_size=BATCH, model=model, schedule=curve, **words)


def resnet(*, record_shape, classes, norm):
  """A residual network of one block."""
  shape = dict(width=8, bottleneck=False, project=False, small=True)
  return ResNetClassifier(ResNet((1,), **shape, norm=norm), classes, tuple(record_shape[:2]))


def fmix():
  """Images that hide behind each other, on each device behind those of all, some not to count."""
  ratio = bind.Moving(schedule.beta(1.0, 1.0), each=True)
  return classify(
    record=IMAGES,
    model=partial(resnet, norm="group"),
    score=partial(score.fourier_noise),
    select=partial(select.top, ratio=ratio),
    hide=partial(hide.mix),
    recover=partial(recover.cross_entropy),
  )


def bernoulli(scores):
  """Hides another number of patches in every example."""
  return select.threshold(scores, above=0.5)


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
  presets: tuple[str, ...] = tuple(MESHES)
  held: Callable = lambda average, params, moments: average


def systems():
  """One for each way in which devices could differ: every kind of loss, of state and of batch."""
  sgd, gentle = (optax.sgd(rate, momentum=0.9) for rate in (0.5, 0.05))
  pruned = weights.hold(sgd, select=partial(select.top, ratio=0.5), scope="global")
  classified = classify(
    record=IMAGES,
    model=partial(resnet, norm="batch"),
    recover=partial(recover.cross_entropy),
  )
  buckets = mae(select=partial(bernoulli), keep=(6, 16))
  return {
    "hpm": System(hpm(), images(), sgd, presets=("pmap", "fsdp_tensor")),
    "md4": System(md4(), texts(), sgd, accumulate=2, presets=("pmap", "data")),
    "pruning": System(contrast(), images(), pruned, held=weights.settle),
    "fmix": System(fmix(), images(), gentle, accumulate=2, presets=("pmap", "fsdp_tensor")),
    "resnet": System(classified, images(), gentle, presets=("pmap", "fsdp")),
    # Only where each device has a batch of its own could they disagree about a bucket.
    "buckets": System(buckets, images(), sgd, presets=("pmap",)),
  }


class Trained(NamedTuple):
  """Where a few steps led: the state as it lies, metrics, the compiled step and its batch."""

  state: State
  rows: list
  step: Callable
  batch: dict


def begin(system):
  """The state of a system before its first step."""
  made = jax.jit(lambda key, batch: start(system.task, system.tx, key, batch, ema=True))
  return made(jax.random.key(0), jax.tree.map(lambda x: x[:1], system.batch))


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
      np.testing.assert_allclose(value, theirs[leaf], err_msg=message, **TOLERANCE)


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


def check_masks(task, batch, variables):
  """Masks under `jit` on cut batches, and within `pmap`, are those of one device, bit for bit."""

  def hidden(variables, batch):
    views = task.answers["views"](variables, batch, jax.random.key(1))
    return views["hidden"] if "hidden" in views else jnp.isnan(views["seen"])

  expected = jax.jit(hidden)(variables, batch)
  parts = jax.tree.map(lambda x: x.reshape(8, -1, *x.shape[1:]), batch)
  mapped = jax.pmap(hidden, in_axes=(None, 0))(variables, parts)
  np.testing.assert_array_equal(mapped.reshape(expected.shape), expected)
  for preset in ("data", "fsdp_tensor"):  # The others cut a batch as "data" does.
    placed = make_mesh(MESHES[preset]).put(batch)
    np.testing.assert_array_equal(jax.jit(hidden)(variables, placed), expected)


def main():
  """Exits with an error where a preset differs from one device."""
  for name, system in systems().items():
    begun = begin(system)
    if name in ("buckets", "fmix"):
      check_masks(system.task, system.batch, begun.variables)
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
