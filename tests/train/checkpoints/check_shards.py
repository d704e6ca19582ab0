"""One of some processes that write and read checkpoints together; test_shards.py starts them.

They are made by `jax.distributed.initialize`, as Ray's or a user's are, and train a sweep too.

Argued with: process, how many, port, devices of each, folder, and what they do: "write" or "read".
"""

import faulthandler
import logging
import math
import os
import pathlib
import runpy
import sys
import tempfile
import traceback

os.environ["XLA_FLAGS"] = (
  f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={sys.argv[4]}"
)

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.train.checkpoints import saving, verified
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.mesh.mesh import make_mesh
from maskjax.train.pod import threads
from maskjax.train.workdirs import remote

PROCESS, COUNT, PORT, _, FOLDER, ACT = sys.argv[1:]
FIRST = PROCESS == "0"
said: list[str] = []


def tree(step):
  """The values of a step: cut along either axis, whole on all devices, of one process."""
  rng = np.random.default_rng(step)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  params = {"wide": draw(64, 96), "tall": draw(128, 33), "bias": draw(7)}
  state = {"variables": {"params": params}, "key": jax.random.key(step), "step": np.int32(step)}
  return {"state": state, "position": np.int64(2**40 + step)}


def shown(tree):
  """The leaves of a tree as lists, keys as their data."""
  key = jax.random.key_data(tree["state"]["key"])
  leaves = jax.tree.leaves({**tree, "state": {**tree["state"], "key": np.asarray(key)}})
  return [np.asarray(leaf).tolist() for leaf in leaves]


class Run:
  """The checkpoints of a workdir, and states on a mesh."""

  def __init__(self, workdir, preset):
    self.mesh, self.workdir = make_mesh({"preset": preset, "least": 1}), pathlib.Path(workdir)
    shapes = jax.eval_shape(lambda: tree(0)["state"])
    self.like = {"state": self.mesh.state(shapes), "position": np.int64(0)}

  def checkpoints(self):
    """Those of the workdir."""
    return Checkpoints(self.workdir, keep=3)

  def save(self, *steps):
    """Writes steps, each to the end."""
    with self.checkpoints() as checkpoints:
      for step in steps:
        one = tree(step)
        checkpoints.save(step, {**one, "state": self.mesh.place(one["state"])})

  def check(self, step):
    """Restores, and asserts that this step came back bit for bit, on the shardings asked for."""
    found, got = self.checkpoints().restore(self.like)
    assert found == step, (found, step)
    for leaf, like in zip(jax.tree.leaves(got), jax.tree.leaves(self.like), strict=True):
      assert not hasattr(like, "sharding") or leaf.sharding == like.sharding
    assert shown({**got, "state": self.mesh.get(got["state"])}) == shown(tree(step))


def meet():
  """Waits for the other processes."""
  saving.Exchange("a test").agree(None, lambda _: None)


def counted(monitored):
  """Wraps what copies, or reads, cells: returns its function and the bytes that went through."""
  total = [0]

  def counting(*args):
    found = monitored(*args)
    total[0] += sum(array.nbytes for copies in found.values() for _, array in copies)
    return found

  return counting, total


def bytes_of(step):
  """The bytes on disk of each process' part of a step."""
  size = lambda part: sum(p.stat().st_size for p in part.rglob("*") if p.is_file())
  return [size(step / "state" / f"ocdbt.process_{i}") for i in range(int(COUNT))]


def write_shared(preset):
  """In a folder that all see: nobody holds, writes or reads more than 0.6 of it."""
  run = Run(pathlib.Path(FOLDER) / preset, preset)
  whole = sum(leaf.nbytes for leaf in tree(0)["state"]["variables"]["params"].values())
  saving.cuts.copies, held = counted(saving.cuts.copies)
  verified.parts, read = counted(verified.parts)
  run.save(1)
  assert held[0] < 0.6 * whole, held
  read[0] = 0
  run.check(1)
  assert read[0] < 0.6 * whole, read
  run.save(2, 2)
  written = bytes_of(run.workdir / "checkpoints" / "2")
  assert max(written) < 0.6 * sum(written), written
  for other in (tree(1), {**tree(2), "position": 0}):
    state = run.mesh.place(other["state"])
    with pytest.raises(BadInput, match="a good step 2 already"), run.checkpoints() as checkpoints:
      checkpoints.save(2, {**other, "state": state})
  run.check(2)
  return run


def write_damaged(run):
  """A flipped byte in what the other process wrote is refused by all; the one before is used."""
  run.save(3)
  meet()
  if FIRST:
    part = run.workdir / "checkpoints" / "3" / "state" / "ocdbt.process_1" / "d"
    path = max(part.iterdir(), key=lambda p: p.stat().st_size)
    data = bytearray(path.read_bytes())
    data[math.ceil(len(data) / 2)] ^= 1
    path.write_bytes(data)
  meet()
  said.clear()
  run.check(2)
  assert len(said) == FIRST, said
  assert all(line.startswith("the checkpoint of step 3 is bad, trying an older") for line in said)
  run.save(3)  # sets the bad one aside
  run.check(3)


def write_store():
  """In a store each writes its part where it lies; without a seal a step does not count."""
  url = (pathlib.Path(FOLDER) / "store").as_uri()
  tempfile.tempdir = f"{FOLDER}/scratch"
  with remote.mirrored(url, write=True) as place:
    run = Run(place, "fsdp")
    run.save(1)
    run.check(1)
    run.save(2)
    assert not list(run.workdir.rglob("ocdbt.process_*"))  # no array lies in the local copy
    push = remote.push
    if not FIRST:
      saving.remote.push = refuse
    with pytest.raises(BadInput, match="no rights on this bucket"):
      run.save(3)
    saving.remote.push = push
  meet()
  third = pathlib.Path(FOLDER) / "store/checkpoints/3"
  assert not third.exists()  # what was written of it is gone
  meet()
  if FIRST:  # and what a lost machine left, too
    (third / "state/ocdbt.process_1").mkdir(parents=True)
    (third / "state/ocdbt.process_1/manifest.ocdbt").write_text("half")
  meet()
  with remote.mirrored(url, write=True) as place:
    run = Run(place, "fsdp")
    run.check(2)
    run.save(3)
    run.check(3)


def read_old():
  """A checkpoint of before, of one process and with other digests, onto devices of several."""
  mesh = make_mesh({"preset": "fsdp", "least": 1})
  w, b = np.arange(24, dtype=np.float32).reshape(4, 6), jnp.full(3, 1.5, jnp.bfloat16)
  made = lambda: {"w": jnp.zeros((4, 6)), "b": b, "key": jax.random.key(0)}
  like = {**mesh.state(jax.eval_shape(made)), "position": 0, "empty": np.zeros((0, 2))}
  step, found = Checkpoints(pathlib.Path(FOLDER) / "old").restore(like)
  assert (step, found["position"], found["empty"].shape) == (3, 2**40, (0, 2))
  assert not found["w"].is_fully_addressable
  np.testing.assert_array_equal(mesh.get(found["w"]), w)
  np.testing.assert_array_equal(mesh.get(found["b"]), np.asarray(b))
  assert jax.random.key_data(found["key"]).tolist() == [0, 5]


def refuse(path, **options):
  """A store's answer."""
  raise BadInput("no rights on this bucket")


def main():
  """Exits with an error where something is not as it should be, or after minutes of waiting."""
  faulthandler.dump_traceback_later(480, exit=True)
  handler = logging.Handler()
  handler.emit = lambda record: said.append(record.getMessage())
  logging.getLogger("maskjax").addHandler(handler)
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
  for name in threads.VARIABLES:
    os.environ.pop(name, None)
  threads.enough()
  jax.config.update("jax_cpu_collectives_implementation", "gloo")
  jax.distributed.initialize(f"127.0.0.1:{PORT}", int(COUNT), int(PROCESS))
  if ACT == "write":
    write_shared("data")
    write_damaged(write_shared("fsdp"))
    write_store()
    check = pathlib.Path(__file__).parents[1] / "pod" / "check_sweep.py"
    runpy.run_path(str(check))["main"](pathlib.Path(FOLDER))
  else:
    for preset, place in (("data", "fsdp"), ("fsdp", "fsdp")):
      Run(pathlib.Path(FOLDER) / place, preset).check(3)
    run = Run(pathlib.Path(FOLDER) / "fsdp", "fsdp")
    run.save(4)
    read_old()
  meet()


if __name__ == "__main__":
  try:
    main()
  except BaseException:
    traceback.print_exc()
    os._exit(1)  # not after having waited for the others
