"""Devices and microbatches change nothing but the order of sums."""

import json
import os
import pathlib
import runpy
import subprocess
import sys

import jax
import numpy as np
import pytest

from maskjax.data.pipeline import batches
from maskjax.errors import BadInput
from maskjax.train.build import make_parts
from maskjax.train.checkpoint import Checkpoints
from maskjax.train.mesh import make_mesh
from maskjax.train.run import train

HERE = pathlib.Path(__file__)
tiny = runpy.run_path(str(HERE.with_name("test_run.py")))["tiny"]
# Sums of other orders differ by f32 rounding; AdamW, whose steps are ratios, blows that up where a
# gradient is nearly zero, so the optimiser here is one whose steps are proportional to gradients.
LINEAR = {
  "optimizer": {"fn": "sgd", "learning_rate": 0.5, "schedule": "constant"},
  "total_steps": 4,
}
TOLERANCE = {"rtol": 2e-5, "atol": 2e-6}

ON_EIGHT = """
import json, runpy, sys
import jax
import numpy as np
from maskjax.train.run import train
assert jax.device_count() == 8
for config, workdir in json.loads(sys.argv[1]):
  train(config, workdir)
show = runpy.run_path(sys.argv[2])["hidden"]
np.save(sys.argv[3], show(config, slice(None)))
"""


def hidden(config, part):
  """What is hidden of the given part of the first batch, drawn where the batch lies."""
  parts = make_parts(config)
  batch = next(batches(parts.data, batch_size=config["batch_size"], seed=0))
  batch = parts.mesh.put({name: value[part] for name, value in batch.items()})
  views = jax.jit(parts.task.views)(
    parts.begin(jax.random.key(0)).variables, batch, jax.random.key(1)
  )
  return np.isnan(views["seen"])


def arrays(workdir):
  """The final state's arrays by name."""
  return Checkpoints(workdir).read()[1]


def close(a, b, rows):
  """Asserts that parameters and losses of two workdirs agree."""
  ours, theirs = arrays(a), arrays(b)
  assert set(ours) == set(theirs)
  for name, value in ours.items():
    np.testing.assert_allclose(value, theirs[name], err_msg=name, **TOLERANCE)
  losses = [[row["train/loss"] for row in rows(workdir)] for workdir in (a, b)]
  np.testing.assert_allclose(*losses, **TOLERANCE)


@pytest.fixture(scope="module")
def one(tiny, tmp_path_factory):
  """The workdir of a run on one device, in one piece."""
  workdir = tmp_path_factory.mktemp("one")
  train(tiny.config(LINEAR), workdir)
  return workdir


@pytest.mark.parametrize("accumulate", [2, 4])
def test_microbatches_add_up_to_the_batch(tiny, one, tmp_path, accumulate):
  train(tiny.config(LINEAR, accumulate=accumulate), tmp_path)
  close(tmp_path, one, tiny.rows)


def test_microbatches_draw_the_masks_of_the_batch(tiny):
  config = tiny.config(LINEAR)
  whole = hidden(config, slice(None))
  assert len({mask.tobytes() for mask in whole}) > 1
  for start in range(2):
    np.testing.assert_array_equal(hidden(config, slice(start, None, 2)), whole[start::2])


def test_eight_devices_train_as_one(tiny, one, tmp_path):
  runs = [
    [tiny.config(LINEAR), str(tmp_path / "whole")],
    [tiny.config(LINEAR, accumulate=2), str(tmp_path / "accumulated")],
  ]
  flags = "--xla_force_host_platform_device_count=8"
  flags += " --xla_cpu_collective_call_terminate_timeout_seconds=600"
  masks = str(tmp_path / "hidden.npy")
  env = {**os.environ, "XLA_FLAGS": flags}
  subprocess.run(
    [sys.executable, "-c", ON_EIGHT, json.dumps(runs), str(HERE), masks], env=env, check=True
  )
  for _, workdir in runs:
    close(pathlib.Path(workdir), one, tiny.rows)
  np.testing.assert_array_equal(np.load(masks), hidden(tiny.config(LINEAR), slice(None)))
  # What eight devices began, one continues.
  train(tiny.config(LINEAR, total_steps=5), tmp_path / "whole")
  assert tiny.final(tmp_path / "whole")["step"] == bytes([5])


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
  eight = make_mesh()._replace(devices=8)
  eight.check(16, 2)
  with pytest.raises(BadInput, match=said):
    eight.check(batch_size, accumulate)


def test_shapes_are_placed_on_every_device():
  mesh = make_mesh()
  placed = mesh.replicated({"x": jax.ShapeDtypeStruct((3,), np.float32)})
  assert placed["x"].sharding == mesh.everywhere
