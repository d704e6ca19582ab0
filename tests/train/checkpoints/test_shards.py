"""Checkpoints of several processes: each writes and reads its part, and all are one."""

import itertools
import json
import pathlib
import runpy
import subprocess
import sys
import time
import zipfile

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from maskjax.bench.soak import free_port
from maskjax.train.checkpoints import cuts, exchange, sums
from maskjax.train.checkpoints.checkpoint import Checkpoints

SCRIPT = pathlib.Path(__file__).with_name("check_shards.py")


def launch(count, devices, folder, act):
  """Starts processes and waits; asserts that all end well. Where one does not the others go too."""
  port = free_port()
  logs = [folder / f"{act}{i}.log" for i in range(count)]
  processes = [
    subprocess.Popen(
      [sys.executable, str(SCRIPT), *map(str, (i, count, port, devices, folder, act))],
      stderr=log.open("w"),
    )
    for i, log in enumerate(logs)
  ]
  while None in (statuses := [process.poll() for process in processes]):
    if any(statuses):
      for process in processes:
        process.kill()
    time.sleep(0.05)
  assert statuses == [0] * count, "\n".join(log.read_text()[-3000:] for log in logs)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  """What two processes with two devices each wrote, and four with one each went on from."""
  folder = tmp_path_factory.mktemp("shards")
  (folder / "scratch").mkdir()
  with zipfile.ZipFile(SCRIPT.with_name("whole_leaves.zip")) as file:
    file.extractall(folder / "old")
  images = np.random.default_rng(0).integers(256, size=(40, 8, 8, 1), dtype=np.uint8)
  np.savez(folder / "images.npz", train_images=images, train_labels=np.arange(40))
  launch(2, 2, folder, "write")
  launch(4, 1, folder, "read")
  return folder


def test_what_two_and_four_processes_wrote_one_reads_bit_for_bit(written, monkeypatch):
  words = ["check_shards.py", "0", "1", "0", "1", str(written), "read"]
  monkeypatch.setattr(sys, "argv", words)
  monkeypatch.setenv("XLA_FLAGS", "")
  check = runpy.run_path(str(SCRIPT))
  for workdir, step in (("fsdp", 4), ("data", 2), ("store", 3)):
    like = jax.tree.map(lambda x: x, check["tree"](0))
    found, tree = Checkpoints(written / workdir).restore(like)
    assert (found, check["shown"](tree)) == (step, check["shown"](check["tree"](step)))
    record = written / workdir / "checkpoints" / str(step) / "digest" / "metadata"
    assert record.exists()


def test_two_processes_of_somebody_elses_train_a_sweep(written):
  folders = sorted((written / "sweep").glob("*-*"))  # the rest is asserted there
  for folder, steps in zip(folders, ([1, 2, 3, 4], [1, 2]), strict=True):
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    assert [row["step"] for row in rows if "train/loss" in row] == steps
    assert Checkpoints(folder).steps() == steps[-1:]


def test_orbax_itself_reads_what_several_processes_wrote(written):
  with ocp.CheckpointManager(written / "fsdp" / "checkpoints") as manager:
    assert manager.latest_step() == 4
    read = manager.restore(4, args=ocp.args.Composite(state=ocp.args.PyTreeRestore()))
  _, arrays = Checkpoints(written / "fsdp").read()
  assert set(arrays) == set(read["state"])
  for name, array in arrays.items():
    np.testing.assert_array_equal(read["state"][name], array)


# Digests


def slowly(array):
  """The digest by its definition, in Python's integers."""

  def mix(x):
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
      x = (x ^ x >> shift) * factor % 2**64
    return x ^ x >> 31

  size, data = min(array.dtype.itemsize, 8), array.tobytes()
  words = [int.from_bytes(data[i : i + size], "little") for i in range(0, len(data), size)]
  step = 0x9E3779B97F4A7C15
  return sum(mix(w ^ (i + 1) * step % 2**64) for i, w in enumerate(words)) % 2**64


KINDS = ("f4", "f8", "c16", "c8", "u1", "?", "i2", jax.numpy.bfloat16, jax.numpy.int4)


@settings(deadline=None, max_examples=60)
@given(
  hnp.array_shapes(min_dims=0, max_dims=4, max_side=5),
  st.sampled_from(KINDS),
  st.lists(st.integers(1, 4), min_size=4, max_size=4),
)
def test_digests_add_up_however_an_array_is_cut(shape, kind, parts):
  array = np.asarray(np.random.default_rng(0).normal(size=shape) * 3).astype(kind)
  assert sums.digest(array) == slowly(array)
  edges = [sorted({0, n, *range(0, n, part)}) for n, part in zip(shape, parts, strict=False)]
  sides = [list(itertools.pairwise(edge)) for edge in edges]
  total = 0
  for at in np.ndindex(*map(len, sides)):
    box = tuple(side[i] for side, i in zip(sides, at, strict=True))
    part = array[(*cuts.index(box), ...)]
    total += sums.digest(part, [begin for begin, _ in box], shape)
  assert total % 2**64 == sums.digest(array)


def test_digests_in_blocks_are_those_of_the_whole(monkeypatch):
  array = np.random.default_rng(0).normal(size=(7, 40))
  whole = sums.digest(array)
  for block in (1, 5, 64, 100):
    monkeypatch.setattr(sums, "BLOCK", block)
    assert sums.digest(array) == whole
    parts = [sums.digest(array[:, a:b], (0, a), (7, 40)) for a, b in ((0, 9), (9, 40))]
    assert sum(parts) % 2**64 == whole


def test_what_a_disk_does_to_an_array_changes_its_digest():
  array = np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32)
  whole = sums.digest(array)
  flipped = array.copy()
  flipped.view(np.uint8)[3, 17] ^= 1
  rows = array[[1, 0, *range(2, 8)]]
  swapped = array.copy()
  swapped[0, 0], swapped[5, 3] = array[5, 3], array[0, 0]
  zeros = array.copy()
  zeros[2:4] = 0
  for other in (flipped, rows, swapped, zeros, np.roll(array, 1), -array, array[::-1]):
    assert sums.digest(other) != whole
  # Zeros of any number have places too.
  assert sums.digest(np.zeros(8)) != sums.digest(np.zeros(9))
  negative = np.zeros(8)
  negative[3] = -0.0
  assert sums.digest(negative) != sums.digest(np.zeros(8))


# Cuts


@pytest.mark.parametrize(
  ("spec", "shape", "found"),
  [
    ((), (64, 64), ("data", "fsdp")),
    (("fsdp",), (64, 128), ("fsdp", "data")),
    (("fsdp",), (64, 65), (("fsdp", "data"),)),
    ((None, "fsdp"), (63, 128), (None, ("fsdp", "data"))),
    ((), (63, 65), ()),  # nothing divides them
    ((), (8, 8), ()),  # small
  ],
)
def test_what_devices_hold_alike_is_cut_further(spec, shape, found):
  mesh = jax.sharding.AbstractMesh((2, 4), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
  made = cuts.spread(NamedSharding(mesh, PartitionSpec(*spec)), shape).spec
  plain = [tuple(axes) if isinstance(axes, tuple) and len(axes) > 1 else axes for axes in made]
  plain = [axes[0] if isinstance(axes, tuple) and len(axes) == 1 else axes for axes in plain]
  while plain and plain[-1] is None:
    plain.pop()
  assert tuple(plain) == found


def test_boxes_are_read_from_whoever_wrote_them():
  cut = cuts.Cut((4, 6), (2, 3), (0, 1, 2, 3))
  array, made = np.arange(24).reshape(4, 6), np.zeros((3, 4), int)
  box, owners = ((1, 4), (1, 5)), set()
  for owner, piece in cut.pieces(box):
    made[cuts.index(piece, box)] = array[cuts.index(piece)]
    owners.add(owner)
  np.testing.assert_array_equal(made, array[cuts.index(box)])
  assert owners == {0, 1, 2, 3}
  assert [o for o, _ in cut.pieces(((2, 4), (3, 6)))] == [3]


# What they tell each other


class Client:
  """The key-value store of jax, of one process that plays both in turn."""

  def __init__(self):
    self.values, self.late = {}, 1

  def key_value_set(self, key, value):
    self.values[key] = value

  def key_value_delete(self, key):
    self.values.pop(key, None)

  def blocking_key_value_get(self, key, milliseconds):
    if self.late:
      self.late -= 1
      raise jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED: timed out")
    return self.values[key]


@pytest.mark.parametrize("kind", [exchange.BadInput, exchange.Restart, OSError])
def test_what_the_first_decides_or_meets_is_told_to_all(monkeypatch, caplog, kind):
  client, first = Client(), exchange.Exchange("a test")
  monkeypatch.setattr(jax, "process_count", lambda: 2)
  monkeypatch.setattr(jax, "process_index", lambda: 0)
  monkeypatch.setattr(exchange.distributed.global_state, "client", client)
  client.values[f"{first._place}/1/1"] = "3"
  assert first.agree(2, sum) == 5
  assert caplog.messages == ["waiting for process 1 at a test"]
  client.values[f"{first._place}/2/1"] = "3"

  def fail(values):
    raise kind(f"what came of {values}")

  with pytest.raises(kind):
    first.agree(2, fail)
  second = exchange.Exchange("a test")
  second._place = first._place
  client.values[f"{first._place}/1"] = '{"value": 5}'
  monkeypatch.setattr(jax, "process_index", lambda: 1)
  assert second.agree(3, sum) == 5
  with pytest.raises(exchange.KINDS.get(kind.__name__, exchange.ElsewhereError), match="what came"):
    second.agree(3, sum)
