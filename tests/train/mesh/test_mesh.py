"""Devices and microbatches change nothing but the order of sums."""

import dataclasses
import inspect
import json
import os
import pathlib
import runpy
import subprocess
import sys

import jax
import numpy as np
import pytest

from maskjax.bench.soak import free_port
from maskjax.data.pipeline import batches
from maskjax.errors import BadInput
from maskjax.task.base import Task
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.mesh import mesh as meshes
from maskjax.train.mesh.mesh import AXES, PRESETS, make_mesh
from maskjax.train.run import train
from maskjax.train.setup.build import make_parts

HERE = pathlib.Path(__file__)
tiny = runpy.run_path(str(HERE.parents[1] / "test_run.py"))["tiny"]
# Sums of other orders differ by f32 rounding; AdamW, whose steps are ratios, blows that up where a
# gradient is nearly zero, so the optimiser here is one whose steps are proportional to gradients.
LINEAR = {
  "optimizer": {"fn": "sgd", "learning_rate": 0.5, "schedule": "constant"},
  "total_steps": 5,
}
# Of a leaf's largest, over five steps of some fifty products.
ROUNDING, NOTHING = 1e-4, 2e-6
EVALS = {
  "knn": {"fn": "train.evaluators.knn", "k": 3, "batch_size": 16},
  "sparsity": {"fn": "train.evaluators.sparsity"},
  "recovery": {"fn": "train.evaluators.masked_reconstruction", "batch_size": 16},
  "reconstruction": {"fn": "train.evaluators.reconstruction", "examples": 8, "batch_size": 16},
}
# A run on eight devices a step at a time, by one preset after the other, then in microbatches.
RELAY = (
  {"mesh": {"preset": "pmap"}, "evals": EVALS},
  {"mesh": {"preset": "fsdp", "least": 32, "shape": {"slice": 2}}},
  {"mesh": {"preset": "fsdp_tensor", "least": 32}, "evals": EVALS},
  {"accumulate": 2},
)

ON_EIGHT = """
import json, sys
import jax
from maskjax.train.run import train
assert jax.device_count() == 8
for config, workdir in json.loads(sys.argv[1]):
  train(config, workdir)
"""


def hidden(config, parts):
  """What is hidden of each part of the first batch."""
  made = make_parts(config)
  batch = next(batches(made.data, batch_size=config["batch_size"], seed=0))
  variables, views = made.begin(jax.random.key(0)).variables, jax.jit(made.task.answers["views"])
  cut = [{name: value[part] for name, value in batch.items()} for part in parts]
  return [np.isnan(views(variables, piece, jax.random.key(1))["seen"]) for piece in cut]


@pytest.mark.parametrize("preset", ["data", "fsdp"])
def test_every_answer_whatever_its_name_is_told_the_devices_and_takes_all_arguments(preset):
  def ask(variables, batch, *, step=0):
    return variables["params"].sum(), batch, step, jax.sharding.get_abstract_mesh().axis_names

  names = ("features", "views", "generate", "sample", "invented")
  task = make_mesh({"preset": preset}).reading(Task(None, ask, answers=dict.fromkeys(names, ask)))
  assert set(task.answers) == set(names)
  for function in (task.loss, *task.answers.values()):
    assert function({"params": np.ones(3)}, 2, step=4) == (3, 2, 4, AXES)
    assert inspect.signature(function) == inspect.signature(ask)


def arrays(workdir):
  """The final state's arrays by name."""
  return Checkpoints(workdir).read()[1]


def close(a, b, rows):
  """Asserts that parameters and losses of two workdirs agree."""
  ours, theirs = arrays(a), arrays(b)
  assert set(ours) == set(theirs)
  for name, value in ours.items():
    room = ROUNDING * np.abs(theirs[name]).max(initial=0) + NOTHING
    np.testing.assert_allclose(value, theirs[name], 0, room, err_msg=name)
  losses = [[row[key] for row in rows(work) if (key := "train/loss") in row] for work in (a, b)]
  np.testing.assert_allclose(*losses, rtol=ROUNDING)


@pytest.fixture(scope="module")
def one(tiny, tmp_path_factory):
  """The workdir of a run on one device, in one piece."""
  workdir = tmp_path_factory.mktemp("one")
  train(tiny.config(LINEAR), workdir)
  return workdir


def test_microbatches_draw_the_masks_of_the_batch(tiny):
  whole, *halves = hidden(tiny.config(LINEAR), (slice(None), slice(0, None, 2), slice(1, None, 2)))
  assert len({mask.tobytes() for mask in whole}) > 1
  for start, half in enumerate(halves):
    np.testing.assert_array_equal(half, whole[start::2])


def test_eight_devices_and_microbatches_train_as_one(tiny, one, tmp_path):
  runs = [
    [tiny.config(LINEAR, total_steps=step, **words), str(tmp_path)]
    for step, words in enumerate(RELAY, 1)
  ]
  eight = "--xla_force_host_platform_device_count=8"
  eight += " --xla_cpu_collective_call_terminate_timeout_seconds=600"
  env = {**os.environ, "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {eight}"}
  subprocess.run([sys.executable, "-c", ON_EIGHT, json.dumps(runs)], env=env, check=True)
  # What presets and devices began, one device ends.
  train(tiny.config(LINEAR), tmp_path)
  close(tmp_path, one, tiny.rows)


def test_a_batch_is_cut_over_the_devices():
  mesh = make_mesh()
  batch = {"image": np.zeros((4 * mesh.devices, 2)), "position": np.arange(4 * mesh.devices)}
  put = mesh.put(batch)
  assert put["image"].sharding == mesh.cut
  np.testing.assert_array_equal(put["position"], batch["position"])


@pytest.mark.parametrize(
  ("batch_size", "accumulate", "said"),
  [
    (12, 1, "batch_size 12 is not divisible by 8 device"),
    (24, 2, "8 device.* times 2 microbatches"),
    (0, 1, "batch_size 0"),
    (16, 0, "accumulate must be at least 1"),
  ],
)
def test_batches_that_cannot_be_cut_are_refused(batch_size, accumulate, said):
  eight = make_mesh()._replace(mesh=jax.sharding.AbstractMesh((8, 1, 1), AXES))  # type: ignore
  eight.check(16, 2)
  with pytest.raises(BadInput, match=said):
    eight.check(batch_size, accumulate)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_state_is_placed_and_comes_back(preset):
  mesh = make_mesh({"preset": preset, "least": 1})
  state = {"variables": {"params": {"w": np.arange(6.0).reshape(2, 3)}}, "key": jax.random.key(3)}
  shapes = mesh.state(jax.eval_shape(lambda: state))
  placed = mesh.place(state)
  for leaf, shape in zip(jax.tree.leaves(placed), jax.tree.leaves(shapes), strict=True):
    assert leaf.sharding.is_equivalent_to(shape.sharding, leaf.ndim)
  assert mesh.place(placed, shapes)["key"] == state["key"]
  back = mesh.get(placed)["variables"]["params"]["w"]
  np.testing.assert_array_equal(back, state["variables"]["params"]["w"])
  assert mesh.describe(placed).startswith(f"mesh {preset}, data=1")


@pytest.mark.parametrize(
  ("section", "shape"),
  [
    ({}, {"data": 8, "fsdp": 1, "tensor": 1}),
    ({"preset": "pmap"}, {"data": 8}),
    ({"preset": "fsdp"}, {"data": 1, "fsdp": 8, "tensor": 1}),
    ({"preset": "fsdp", "shape": {"fsdp": 4}}, {"data": 2, "fsdp": 4, "tensor": 1}),
    ({"shape": {"slice": 2}}, {"slice": 2, "data": 4, "fsdp": 1, "tensor": 1}),
    (
      {"preset": "fsdp", "shape": {"slice": 2}},
      {"slice": 2, "data": 1, "fsdp": 4, "tensor": 1},
    ),
    ({"preset": "fsdp_tensor"}, {"data": 1, "fsdp": 4, "tensor": 2}),
    (
      {"preset": "fsdp_tensor", "shape": {"data": -1, "fsdp": 2}},
      {"data": 2, "fsdp": 2, "tensor": 2},
    ),
  ],
)
def test_the_shape_of_a_mesh(monkeypatch, section, shape):
  made = lambda sizes, names, **_: jax.sharding.AbstractMesh(tuple(sizes), names)
  monkeypatch.setattr(jax, "make_mesh", made)
  assert dict(make_mesh(section, [None] * 8).mesh.shape) == shape


@dataclasses.dataclass(frozen=True)
class Chip:
  """A device of a slice, as far as laying it out asks."""

  id: int
  slice_index: int
  platform: str = "cpu"
  device_kind: str = "cpu"
  process_index: int = 0


# Two slices of four, found in another order.
CHIPS = [Chip(i, i % 2) for i in range(8)]


@pytest.fixture
def rows(monkeypatch):
  """Meshes of devices that are not there: `rows(section)` gives the slice of each, and the axes."""
  made = lambda rows, names, **_: (rows, names)
  monkeypatch.setattr(jax.sharding, "Mesh", made)
  monkeypatch.setattr(meshes, "NamedSharding", lambda *_: None)
  return lambda section: make_mesh(section, CHIPS).mesh


@pytest.mark.parametrize(
  ("section", "axes", "shape"),
  [
    ({}, ("slice", *AXES), (2, 4, 1, 1)),
    ({"preset": "fsdp"}, ("slice", *AXES), (2, 1, 4, 1)),
    ({"preset": "fsdp", "shape": {"slice": -1, "data": 2}}, ("slice", *AXES), (2, 2, 2, 1)),
    # Where the state is to be cut over slices too.
    ({"preset": "fsdp", "shape": {"slice": 1}}, AXES, (1, 8, 1)),
    ({"preset": "pmap"}, ("data",), (8,)),
  ],
)
def test_devices_of_several_slices_lie_together(rows, section, axes, shape):
  devices, names = rows(section)
  assert names == axes
  assert devices.shape == shape
  slices = [chip.slice_index for chip in devices.flat]
  assert slices == [0] * 4 + [1] * 4
  assert len({chip.id for chip in devices.flat}) == 8


def test_an_axis_over_more_slices_than_there_are_is_refused(rows):
  with pytest.raises(BadInput, match=r"mesh.shape.slice=4: the devices are of 2 slices"):
    rows({"shape": {"slice": 4}})


def test_batches_are_cut_over_slices_and_states_are_not():
  mesh = make_mesh({"preset": "fsdp", "least": 1})
  abstract = jax.sharding.AbstractMesh((2, 2, 2, 1), ("slice", *AXES))
  cut = jax.sharding.NamedSharding(abstract, jax.sharding.PartitionSpec(("slice", "data", "fsdp")))
  eight = mesh._replace(mesh=abstract, cut=cut)
  assert eight.parts == 8
  state = {"variables": {"params": {"w": jax.ShapeDtypeStruct((16, 16), np.float32)}}}
  assert tuple(eight.shardings(state)["variables"]["params"]["w"].spec) == ("fsdp",)


@pytest.mark.parametrize(
  ("section", "said"),
  [
    ({"preset": "fdsp"}, "unknown preset of mesh 'fdsp'.*fsdp"),
    ({"presets": "fsdp"}, "unknown field of mesh 'presets'"),
    ({"preset": "data", "shape": {"fsdp": 2}}, "unknown axis of preset 'data' 'fsdp'"),
    ({"preset": "pmap", "shape": {"slice": 2}}, "unknown axis of preset 'pmap' 'slice'"),
    ({"preset": "fsdp", "shape": {"data": 3, "fsdp": 2}}, "does not multiply to 8"),
    ({"preset": "fsdp", "shape": {"data": 3}}, "data=3 by fsdp=-1 does not multiply to 8"),
    ({"preset": "fsdp_tensor", "shape": {"tensor": 3}}, "does not multiply to 8"),
    ({"preset": "fsdp", "shape": {"data": -1, "fsdp": -1}}, "only one axis can be -1"),
    ({"preset": "fsdp", "shape": {"fsdp": 0}}, "must be -1 or positive, got 0"),
    ({"rules": (("kernel$", ("fsdp",)),)}, "preset 'data' keeps whole"),
  ],
)
def test_meshes_that_cannot_be_are_refused(section, said):
  with pytest.raises(BadInput, match=said):
    make_mesh(section, jax.devices()[:1] * 8)


def test_a_config_says_how_its_state_is_cut(tiny):
  config = tiny.config(mesh={"preset": "fsdp", "rules": (("qkv/kernle$", (None, "fsdp")),)})
  with pytest.raises(BadInput, match=r"kernle.*matches no parameter"):
    make_parts(config)


def test_arrays_that_span_processes():
  port = str(free_port())
  script = f"import runpy; runpy.run_path({str(HERE.with_name('check_processes.py'))!r}, {{}}, "
  script += "'__main__')"
  both = [
    subprocess.Popen([sys.executable, "-c", script, str(process), port], stderr=subprocess.PIPE)
    for process in range(2)
  ]
  said = [process.communicate()[1].decode()[-3000:] for process in both]
  assert [process.returncode for process in both] == [0, 0], "\n".join(said)
