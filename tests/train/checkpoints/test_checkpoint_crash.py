"""Checkpoints of processes that die, on disks that fill, on other devices."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.train.checkpoints.checkpoint import Checkpoints

COMMON = """
import sys, os, pathlib, resource, numpy as np
from maskjax.train.checkpoints.checkpoint import Checkpoints
path = pathlib.Path(sys.argv[1])
tree = lambda step: {"x": np.random.default_rng(step).random(1_000_000), "step": step}
"""

KILLED = (
  COMMON
  + """
import signal, threading, time
checkpoints = Checkpoints(path)
checkpoints.save(1, tree(1))
checkpoints.save(2, tree(2))
while not any("2.orbax" in p.name for p in (path / "checkpoints").iterdir()):
  time.sleep(0.0005)
os.kill(os.getpid(), signal.SIGKILL)
"""
)

FULL = (
  COMMON
  + """
with Checkpoints(path, keep=2) as checkpoints:
  checkpoints.save(1, {"x": np.zeros(10), "step": 1})
  checkpoints.wait()
  if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
  if sys.argv[2] == "permission":
    os.chmod(path / "checkpoints", 0o555)
    if os.getuid() == 0:  # nothing is forbidden to root
      os.setuid(65534)
  checkpoints.save(2, tree(2))
  try:
    checkpoints.wait()
  except ValueError as error:
    print(type(error).__name__, error, sep=": ")
  print(sorted(p.name for p in (path / 'checkpoints').iterdir()))
  like = {"x": np.zeros(10), "step": 0}
  print(checkpoints.restore(like)[1]["step"])
  if sys.argv[2] == "limit":
    checkpoints.save(2, {"x": np.zeros(10), "step": 2})
    checkpoints.wait()
    print(checkpoints.restore(like)[1]["step"])
"""
)


def run(code: str, *arguments: Any, **environment: str) -> subprocess.CompletedProcess:
  command = [sys.executable, "-c", code, *map(str, arguments)]
  done = subprocess.run(
    command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
  )
  assert done.returncode in (0, -signal.SIGKILL), done.stderr
  return done


def test_a_process_killed_while_saving_leaves_the_older_step(tmp_path, caplog):
  assert run(KILLED, tmp_path).returncode == -signal.SIGKILL
  like = {"x": np.zeros(1_000_000), "step": 0}
  names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
  assert names == ["1", "2.orbax-checkpoint-tmp"]
  with Checkpoints(tmp_path) as checkpoints:
    step, tree = checkpoints.restore(like)
    assert (step, tree["step"]) == (1, 1)
    (record,) = caplog.records
    assert "step 2 is bad" in record.getMessage()
    assert "half-written" in record.getMessage()
    checkpoints.save(2, like)
  assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["2"]


def test_half_written_alone_is_no_checkpoint(tmp_path, caplog):
  (tmp_path / "checkpoints" / "5.orbax-checkpoint-tmp").mkdir(parents=True)
  assert Checkpoints(tmp_path).restore({}) is None
  (record,) = caplog.records
  assert "step 5 is bad" in record.getMessage()


def test_full_disk_by_file_size_limit(tmp_path):
  message, names, *steps = run(FULL, tmp_path, "limit").stdout.splitlines()
  assert message.startswith("BadInput: checkpoint of step 2 could not be written: file too large (")
  assert message.endswith("; the last good one is step 1")
  assert (names, steps) == ("['1']", ["1", "2"])


def test_full_disk_by_small_file_system(tmp_path):
  mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
  if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
    pytest.skip("mounting a small file system needs root")
  try:
    message, names, step = run(FULL, tmp_path, "disk").stdout.splitlines()
  finally:
    subprocess.run(["umount", str(tmp_path)], check=True)
  assert "step 2 could not be written: no space left on device (" in message
  assert message.endswith("; the last good one is step 1")
  assert (names, step) == ("['1']", "1")


def test_lost_permission():
  # Not pytest's folder: none but its owner may enter that.
  with tempfile.TemporaryDirectory() as folder:
    pathlib.Path(folder).chmod(0o755)
    message, names, step = run(FULL, folder, "permission").stdout.splitlines()
  assert "step 2 could not be written: permission denied (" in message
  assert (names, step) == ("['1']", "1")


ON_FOUR = """
import sys, jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from maskjax.train.checkpoints.checkpoint import Checkpoints
mesh = Mesh(np.array(jax.devices()).reshape(4), ("data",))
put = lambda x, spec: jax.device_put(x, NamedSharding(mesh, PartitionSpec(*spec)))
like = {
  "sharded": put(jnp.zeros((8, 3)), ("data",)),
  "whole": jax.ShapeDtypeStruct((4,), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec())),
  "key": put(jax.random.key(0), ()),
}
with Checkpoints(sys.argv[1]) as checkpoints:
  _, tree = checkpoints.restore(like)
  assert tree["sharded"].sharding == like["sharded"].sharding
  assert tree["whole"].sharding == like["whole"].sharding
  assert len(tree["key"].devices()) == 4
  checkpoints.save(2, jax.tree.map(lambda x: x, tree))
"""


def test_other_device_counts(tmp_path):
  tree = {
    "sharded": jax.random.normal(jax.random.key(0), (8, 3)),
    "whole": jnp.arange(4.0),
    "key": jax.random.key(7),
  }
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, tree)
  flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"
  run(ON_FOUR, tmp_path, XLA_FLAGS=flags)
  step, got = Checkpoints(tmp_path).restore(tree)
  assert step == 2
  assert got["key"] == tree["key"]
  np.testing.assert_array_equal(got["sharded"], tree["sharded"])
  np.testing.assert_array_equal(got["whole"], tree["whole"])
